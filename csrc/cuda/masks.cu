// SPDX-License-Identifier: Apache-2.0
#include "dpm/operations.h"
#include "launch.cuh"

namespace dpm::cuda {
namespace {

using Scratch = SelectionScratch;

__device__ Scratch& scratch_of(const PointmapDynamicMask& op, std::int64_t view) {
  return reinterpret_cast<Scratch*>(op.scratch.data)[view];
}

/// Adds the pixels of this block whose higher bits are those of `found` to the view's histogram of one digit.
template <int Digit>
__device__ void count_digit(const PointmapDynamicMask& op, std::int64_t view, std::uint32_t found, bool measure) {
  constexpr int bins = 1 << Digits::width(Digit), shift = Digits::shift(Digit), above = shift + Digits::width(Digit);
  __shared__ std::uint32_t histogram[bins];
  for (int bin = threadIdx.x; bin < bins; bin += kThreads) histogram[bin] = 0;
  __syncthreads();
  const std::int64_t offset = view * op.pixels();
  for (std::int64_t i = thread_index(); i < op.pixels(); i += thread_count()) {
    const std::int64_t pixel = offset + i;
    if (measure) op.distance.data[pixel] = distance(op.moved.data + 3 * pixel, op.points.data + 3 * pixel);
    const std::uint32_t bits = order(op.distance.data[pixel]);
    if (bits < kInfinityOrder && bits >> above == found) {
      // Neighbours move alike: one of those with the same digit counts for all.
      const std::uint32_t bin = bits >> shift & (bins - 1);
      const unsigned same = __match_any_sync(__activemask(), bin);
      if ((threadIdx.x & 31u) == static_cast<unsigned>(__ffs(same) - 1)) atomicAdd(&histogram[bin], __popc(same));
    }
  }
  __syncthreads();
  std::uint32_t* counts = scratch_of(op, view).counts + Digits::first_bin(Digit);
  for (int bin = threadIdx.x; bin < bins; bin += kThreads) {
    if (histogram[bin] != 0) atomicAdd(&counts[bin], histogram[bin]);
  }
}

struct Place {
  std::uint32_t found;  // the bits of the median above the digits still to be found
  std::uint32_t rank;   // among the values that share them
};

/// Extends `place` by the digit whose histogram is complete. Every thread of the block gets the answer.
template <int Digit>
__device__ Place find_digit(const PointmapDynamicMask& op, std::int64_t view, Place place) {
  constexpr int width = Digits::width(Digit), each = (1 << width) / kThreads;
  __shared__ std::uint32_t sums[kThreads];
  __shared__ Place answer;
  const std::uint32_t* counts = scratch_of(op, view).counts + Digits::first_bin(Digit);
  std::uint32_t mine = 0;
  for (int k = 0; k < each; ++k) mine += counts[threadIdx.x * each + k];
  sums[threadIdx.x] = mine;
  if (threadIdx.x == 0) answer = {~0u, 0};  // where no pixel has both points
  __syncthreads();
  for (int stride = 1; stride < kThreads; stride *= 2) {
    const std::uint32_t left = threadIdx.x >= stride ? sums[threadIdx.x - stride] : 0;
    __syncthreads();
    sums[threadIdx.x] += left;
    __syncthreads();
  }
  const std::uint32_t total = sums[kThreads - 1];
  const std::uint32_t rank = Digit == 0 ? (total - 1) / 2 : place.rank;
  std::uint32_t before = sums[threadIdx.x] - mine;
  if (total > 0 && before <= rank && rank < sums[threadIdx.x]) {
    int bin = threadIdx.x * each;
    while (rank - before >= counts[bin]) before += counts[bin++];
    answer = {place.found << width | static_cast<std::uint32_t>(bin), rank - before};
  }
  __syncthreads();
  return answer;
}

__global__ void count_first(PointmapDynamicMask op) {
  for (std::int64_t view = blockIdx.y; view < op.views(); view += gridDim.y) {
    count_digit<0>(op, view, 0, true);
    __syncthreads();
  }
}

template <int Digit>
__global__ void count_next(PointmapDynamicMask op) {
  for (std::int64_t view = blockIdx.y; view < op.views(); view += gridDim.y) {
    Scratch& scratch = scratch_of(op, view);
    Place place{0, 0};
    if constexpr (Digit > 1) place = {scratch.found, scratch.rank};
    place = find_digit<Digit - 1>(op, view, place);
    if (Digit == 1 && blockIdx.x == 0 && threadIdx.x == 0) scratch.found = place.found, scratch.rank = place.rank;
    count_digit<Digit>(op, view, place.found, false);
    __syncthreads();
  }
}

__device__ float median_of(const PointmapDynamicMask& op, std::int64_t view) {
  const Scratch& scratch = scratch_of(op, view);
  Place place{scratch.found, scratch.rank};
  place = find_digit<1>(op, view, place);
  __syncthreads();
  place = find_digit<2>(op, view, place);
  return place.found == ~0u ? 0.0f : __uint_as_float(place.found);
}

__global__ void add_finite(PointmapDynamicMask op) {
  __shared__ double sums[kThreads];
  __shared__ unsigned long long counts[kThreads];
  for (std::int64_t view = blockIdx.y; view < op.views(); view += gridDim.y) {
    double sum = 0;
    unsigned long long count = 0;
    for (std::int64_t i = thread_index(); i < op.pixels(); i += thread_count()) {
      const std::int64_t pixel = view * op.pixels() + i;
      const float value = distance(op.moved.data + 3 * pixel, op.points.data + 3 * pixel);
      op.distance.data[pixel] = value;
      if (order(value) < kInfinityOrder) sum += value, ++count;
    }
    sums[threadIdx.x] = sum;
    counts[threadIdx.x] = count;
    __syncthreads();
    for (int half = kThreads / 2; half > 0; half /= 2) {
      if (threadIdx.x < half) {
        sums[threadIdx.x] += sums[threadIdx.x + half];
        counts[threadIdx.x] += counts[threadIdx.x + half];
      }
      __syncthreads();
    }
    if (threadIdx.x == 0) {
      scratch_of(op, view).sums[blockIdx.x] = sums[0];
      scratch_of(op, view).finite[blockIdx.x] = counts[0];
    }
    __syncthreads();
  }
}

__device__ float mean_of(const PointmapDynamicMask& op, std::int64_t view) {
  const Scratch& scratch = scratch_of(op, view);
  double sum = 0;
  unsigned long long count = 0;
  for (int block = 0; block < Scratch::kBlocks; ++block) sum += scratch.sums[block], count += scratch.finite[block];
  return count > 0 ? static_cast<float>(sum / static_cast<double>(count)) : 0.0f;
}

template <Statistic Kind>
__global__ void compare(PointmapDynamicMask op) {
  for (std::int64_t view = blockIdx.y; view < op.views(); view += gridDim.y) {
    const float typical = Kind == Statistic::kMedian ? median_of(op, view) : mean_of(op, view);
    const float relative = op.factor * typical, threshold = relative > op.floor ? relative : op.floor;
    for (std::int64_t i = thread_index(); i < op.pixels(); i += thread_count()) {
      const float value = op.distance.data[view * op.pixels() + i];
      op.mask.data[view * op.pixels() + i] = (value > threshold) & (value < INFINITY);
    }
    __syncthreads();
  }
}

}  // namespace

void pointmap_dynamic_mask(const PointmapDynamicMask& op, void* stream_handle) {
  if (op.views() * op.pixels() == 0) return;
  const auto stream = static_cast<cudaStream_t>(stream_handle);
  const dim3 blocks(Scratch::kBlocks, static_cast<unsigned>(std::min<std::int64_t>(op.views(), 65535)));
  check(cudaMemsetAsync(op.scratch.data, 0, static_cast<std::size_t>(op.views()) * sizeof(Scratch), stream));
  if (op.statistic == Statistic::kMedian) {
    count_first<<<blocks, kThreads, 0, stream>>>(op);
    count_next<1><<<blocks, kThreads, 0, stream>>>(op);
    count_next<2><<<blocks, kThreads, 0, stream>>>(op);
    compare<Statistic::kMedian><<<blocks, kThreads, 0, stream>>>(op);
  } else {
    add_finite<<<blocks, kThreads, 0, stream>>>(op);
    compare<Statistic::kMean><<<blocks, kThreads, 0, stream>>>(op);
  }
  check(cudaGetLastError());
}

}  // namespace dpm::cuda
