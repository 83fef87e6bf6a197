// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "dpm/operations.h"

void dpm::cpu::sim3_moments(const Sim3Moments& op) {
  // Always the same blocks, added in their order: the result does not know how many threads there were.
#pragma omp parallel for schedule(static) if (op.size() > 1 << 13)
  for (std::int64_t block = 0; block < op.blocks(); ++block) {
    double sums[Sim3Moments::kSums] = {};
    const std::int64_t end = std::min(op.size(), (block + 1) * op.chunk());
    for (std::int64_t i = block * op.chunk(); i < end; ++i) op.add(i, sums);
    std::copy_n(sums, Sim3Moments::kSums, op.partial.data + block * Sim3Moments::kSums);
  }
  double sums[Sim3Moments::kSums] = {};
  for (std::int64_t block = 0; block < op.blocks(); ++block) {
    for (int k = 0; k < Sim3Moments::kSums; ++k) sums[k] += op.partial.data[block * Sim3Moments::kSums + k];
  }
  op.write(sums);
}

void dpm::cpu::sim3_residuals(const Sim3Residuals& op) {
#pragma omp parallel for simd schedule(static) if (op.columns() > 1 << 14)
  for (std::int64_t i = 0; i < op.columns(); ++i) op(i);
}
