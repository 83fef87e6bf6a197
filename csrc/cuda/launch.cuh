// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace dpm::cuda {

inline void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // an error that is told must not be told again by the next call
  throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error));
}

inline constexpr int kThreads = 256, kRowThreads = 128;
inline constexpr std::int64_t kMostBlocks = 1 << 16;

/// Blocks that give each of `size` elements its thread, or a bound of blocks that stride over them.
inline unsigned blocks_for(std::int64_t size, std::int64_t threads = kThreads) {
  return static_cast<unsigned>(std::min((size + threads - 1) / threads, kMostBlocks));
}

inline __device__ std::int64_t thread_index() { return std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
inline __device__ std::int64_t thread_count() { return std::int64_t{gridDim.x} * blockDim.x; }

template <class Op>
__global__ void run_rows(Op op) {
  for (std::int64_t r = blockIdx.y; r < op.rows(); r += gridDim.y) {
    const auto row = op.row(r);
    for (std::int64_t c = thread_index(); c < op.columns(); c += thread_count()) row(c);
  }
}

/// Blocks of `threads` for rows and columns. Where there are rows enough, a thread does several columns of one, so that
/// what the row shares is worked out less often.
inline dim3 blocks_for_rows(std::int64_t rows, std::int64_t columns, std::int64_t threads) {
  const std::int64_t columns_of_block = rows > 64 ? 4 * threads : threads, most_rows = 65535;
  return dim3(blocks_for(columns, columns_of_block), static_cast<unsigned>(std::min(rows, most_rows)));
}

/// Calls `op.row(r)(c)` for every row and column on `stream`; returns without waiting.
template <class Op>
void launch(const Op& op, void* stream) {
  if (op.rows() == 0 || op.columns() == 0) return;
  const dim3 blocks = blocks_for_rows(op.rows(), op.columns(), kRowThreads);
  run_rows<<<blocks, kRowThreads, 0, static_cast<cudaStream_t>(stream)>>>(op);
  check(cudaGetLastError());
}

template <class Op>
__global__ void run_vectors(Op op) {
  constexpr int threads = kRowThreads;
  __shared__ float staged[3 * threads];
  for (std::int64_t r = blockIdx.y; r < op.rows(); r += gridDim.y) {
    const auto row = op.row(r);
    for (std::int64_t first = std::int64_t{blockIdx.x} * threads; first < op.columns();
         first += std::int64_t{gridDim.x} * threads) {
      const std::int64_t c = first + threadIdx.x;
      if (c < op.columns()) {
        const auto vector = row.vector(c);
        for (int axis = 0; axis < 3; ++axis) staged[3 * threadIdx.x + axis] = vector.axis[axis];
      }
      __syncthreads();
      const int floats = static_cast<int>(3 * (op.columns() - first < threads ? op.columns() - first : threads));
      for (int i = threadIdx.x; i < floats; i += threads) row.out[3 * first + i] = staged[i];
      __syncthreads();
    }
  }
}

/// As launch, for operations whose rows give three numbers an element: `op.row(r).vector(c)` to `op.row(r).out`.
/// They are written by way of shared memory, so that neighbouring threads write neighbouring words.
template <class Op>
void launch_vectors(const Op& op, void* stream) {
  if (op.rows() == 0 || op.columns() == 0) return;
  const dim3 blocks = blocks_for_rows(op.rows(), op.columns(), kRowThreads);
  run_vectors<<<blocks, kRowThreads, 0, static_cast<cudaStream_t>(stream)>>>(op);
  check(cudaGetLastError());
}

}  // namespace dpm::cuda
