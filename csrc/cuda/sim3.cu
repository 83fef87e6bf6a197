// SPDX-License-Identifier: Apache-2.0
#include "dpm/operations.h"
#include "launch.cuh"

namespace dpm::cuda {
namespace {

constexpr int kSums = Sim3Moments::kSums;

__global__ void add_pairs(Sim3Moments op) {
  __shared__ double warps[kThreads / 32][kSums];
  double sums[kSums] = {};
  const std::int64_t begin = blockIdx.x * op.chunk(), end = min(op.size(), begin + op.chunk());
  for (std::int64_t i = begin + threadIdx.x; i < end; i += kThreads) op.add(i, sums);
#pragma unroll
  for (int k = 0; k < kSums; ++k) {
    for (int offset = 16; offset > 0; offset /= 2) sums[k] += __shfl_down_sync(~0u, sums[k], offset);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32][k] = sums[k];
  }
  __syncthreads();
  if (threadIdx.x < kSums) {
    double sum = 0;
    for (int warp = 0; warp < kThreads / 32; ++warp) sum += warps[warp][threadIdx.x];
    op.partial.data[blockIdx.x * kSums + threadIdx.x] = sum;
  }
}

__global__ void add_blocks(Sim3Moments op) {
  __shared__ double sums[kSums];
  double sum = 0;
  for (std::int64_t block = 0; block < op.blocks(); ++block) {
    sum += op.partial.data[block * kSums + threadIdx.x];
  }
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x == 0) op.write(sums);
}

}  // namespace

void sim3_moments(const Sim3Moments& op, void* stream_handle) {
  const auto stream = static_cast<cudaStream_t>(stream_handle);
  if (op.blocks() > 0) add_pairs<<<static_cast<unsigned>(op.blocks()), kThreads, 0, stream>>>(op);
  add_blocks<<<1, kSums, 0, stream>>>(op);
  check(cudaGetLastError());
}

void sim3_residuals(const Sim3Residuals& op, void* stream) { launch(op, stream); }

}  // namespace dpm::cuda
