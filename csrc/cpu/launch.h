// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace dpm::cpu {

/// Calls `op.row(r)(c)` for every row and column: rows over threads, columns over vector lanes.
template <class Op>
void launch(const Op& op) {
  const std::int64_t rows = op.rows(), columns = op.columns();
#pragma omp parallel for schedule(static) if (rows * columns > 1 << 14)
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto row = op.row(r);
#pragma omp simd
    for (std::int64_t c = 0; c < columns; ++c) row(c);
  }
}

/// As launch, for operations whose rows give three numbers an element: `op.row(r).vector(c)` to `op.row(r).out`.
template <class Op>
void launch_vectors(const Op& op) {
  const std::int64_t rows = op.rows(), columns = op.columns();
#pragma omp parallel for schedule(static) if (rows * columns > 1 << 14)
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto row = op.row(r);
#pragma omp simd
    for (std::int64_t c = 0; c < columns; ++c) {
      const Vector vector = row.vector(c);
      for (int axis = 0; axis < 3; ++axis) row.out[3 * c + axis] = vector.axis[axis];
    }
  }
}

}  // namespace dpm::cpu
