// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <utility>

#include "dpm/operations.h"
#include "launch.cuh"

namespace dpm::cuda {
namespace {

constexpr int kWarp = 32, kWarps = kThreads / kWarp;

__device__ int sum_of_block(int value) {
  __shared__ int sums[kWarps];
  for (int offset = kWarp / 2; offset > 0; offset /= 2) value += __shfl_down_sync(~0u, value, offset);
  if (threadIdx.x % kWarp == 0) sums[threadIdx.x / kWarp] = value;
  __syncthreads();
  int total = 0;
  for (int warp = 0; warp < kWarps; ++warp) total += sums[warp];
  __syncthreads();
  return total;
}

/// Each block takes `chunk` points, one after another, a multiple of kThreads.
__global__ void count_kept(PackCloud op, std::int64_t chunk) {
  const std::int64_t begin = blockIdx.x * chunk, end = min(op.size(), begin + chunk);
  int kept = 0;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += kThreads) kept += op.keeps(i);
  kept = sum_of_block(kept);
  if (threadIdx.x == 0) op.counts.data[blockIdx.x] = kept;
}

template <int LayoutIndex>
__device__ void write(const PackCloud& op, std::int64_t i, std::int64_t row) {
  const PackedPoint<LayoutIndex> point(op, i);
  constexpr int vectors = PackedPoint<LayoutIndex>::kLayout.words() / 4;
  uint4* out = reinterpret_cast<uint4*>(op.bytes.data) + row * vectors;
  for (int v = 0; v < vectors; ++v) {
    const std::uint32_t* words = point.words + 4 * v;
    out[v] = make_uint4(words[0], words[1], words[2], words[3]);
  }
}

template <int LayoutIndex>
__global__ void pack_in_place(PackCloud op) {
  for (std::int64_t i = thread_index(); i < op.size(); i += thread_count()) write<LayoutIndex>(op, i, i);
}

template <int LayoutIndex>
__global__ void pack_kept(PackCloud op, std::int64_t chunk) {
  __shared__ int kept_of_warp[kWarps];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  int before = 0;
  for (int block = threadIdx.x; block < static_cast<int>(blockIdx.x); block += kThreads)
    before += op.counts.data[block];
  std::int64_t row = sum_of_block(before);

  const std::int64_t begin = blockIdx.x * chunk, end = min(op.size(), begin + chunk);
  for (std::int64_t first = begin; first < end; first += kThreads) {
    const std::int64_t i = first + threadIdx.x;
    const bool kept = i < end && op.keeps(i);
    const unsigned votes = __ballot_sync(~0u, kept);
    if (lane == 0) kept_of_warp[warp] = __popc(votes);
    __syncthreads();
    int mine = __popc(votes & ((1u << lane) - 1)), all = 0;
    for (int w = 0; w < kWarps; ++w) {
      if (w < warp) mine += kept_of_warp[w];
      all += kept_of_warp[w];
    }
    __syncthreads();
    if (kept) write<LayoutIndex>(op, i, row + mine);
    row += all;
  }
  if (blockIdx.x == gridDim.x - 1 && threadIdx.x == 0) op.counts.data[gridDim.x] = static_cast<std::int32_t>(row);
}

template <int LayoutIndex>
void launch_pack(const PackCloud& op, unsigned blocks, std::int64_t chunk, cudaStream_t stream) {
  if (op.organized) {
    pack_in_place<LayoutIndex><<<blocks_for(op.size()), kThreads, 0, stream>>>(op);
  } else {
    pack_kept<LayoutIndex><<<blocks, kThreads, 0, stream>>>(op, chunk);
  }
  check(cudaGetLastError());
}

using LaunchPack = void (*)(const PackCloud&, unsigned, std::int64_t, cudaStream_t);

template <int... LayoutIndex>
constexpr std::array<LaunchPack, sizeof...(LayoutIndex)> forms(std::integer_sequence<int, LayoutIndex...>) {
  return {launch_pack<LayoutIndex>...};
}

}  // namespace

std::int64_t pack_cloud(const PackCloud& op, void* stream_handle) {
  if (op.size() == 0) return 0;
  const auto stream = static_cast<cudaStream_t>(stream_handle);
  const LaunchPack pack = forms(std::make_integer_sequence<int, 16>())[static_cast<std::size_t>(op.layout.index())];
  const std::int64_t steps = (op.size() + kThreads - 1) / kThreads;
  const std::int64_t chunk = (steps + PackCloud::kBlocks - 1) / PackCloud::kBlocks * kThreads;
  const auto blocks = static_cast<unsigned>((op.size() + chunk - 1) / chunk);
  if (op.organized) {
    pack(op, blocks, chunk, stream);
    return op.size();
  }
  count_kept<<<blocks, kThreads, 0, stream>>>(op, chunk);
  check(cudaGetLastError());
  pack(op, blocks, chunk, stream);
  std::int32_t kept = 0;
  check(cudaMemcpyAsync(&kept, op.counts.data + blocks, sizeof kept, cudaMemcpyDeviceToHost, stream));
  check(cudaStreamSynchronize(stream));
  return kept;
}

}  // namespace dpm::cuda
