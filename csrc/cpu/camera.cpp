// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "dpm/operations.h"

namespace dpm::cpu {
namespace {

constexpr std::int64_t kParallel = 1 << 14;

void lower(std::uint64_t& target, std::uint64_t candidate) {
  std::uint64_t seen = __atomic_load_n(&target, __ATOMIC_RELAXED);
  while (candidate < seen &&
         !__atomic_compare_exchange_n(&target, &seen, candidate, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
}

}  // namespace

void project_zbuffer(const ProjectZbuffer& op) {
  std::fill_n(op.nearest.data, op.pixels(), ProjectZbuffer::kNone);
#pragma omp parallel if (op.size() + op.pixels() > kParallel)
  {
#pragma omp for schedule(static)
    for (std::int64_t i = 0; i < op.size(); ++i) {
      std::uint64_t candidate = 0;
      const std::int64_t pixel = op.pixel_of(i, candidate);
      if (pixel >= 0) lower(op.nearest.data[pixel], candidate);
    }
#pragma omp for schedule(static)
    for (std::int64_t pixel = 0; pixel < op.pixels(); ++pixel) op.resolve(pixel);
  }
}

void seen_through(const SeenThrough& op) {
#pragma omp parallel for schedule(static) if (op.columns() > kParallel)
  for (std::int64_t i = 0; i < op.columns(); ++i) op(i);
}

}  // namespace dpm::cpu
