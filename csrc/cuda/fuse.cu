// SPDX-License-Identifier: Apache-2.0
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>

#include "dpm/operations.h"
#include "launch.cuh"

namespace dpm::cuda {
namespace {

/// The parts of the scratch memory. Points are sorted by cell, which keeps those of a cell in order.
struct FuseScratch {
  std::uint64_t *keys, *sorted_keys;        // [N]
  std::uint32_t *indices, *sorted_indices;  // [N]
  std::int32_t* is_first;                   // [N] whether a point is the first of its cell
  std::int32_t* row;                        // [N] how many first points come before
  std::int64_t* begin;                      // [N] where a row's points begin among the sorted
  std::int64_t* outside;                    // [1]
  void* library;                            // what CUB asks for
  std::size_t library_bytes, bytes;
};

std::size_t library_bytes_for(std::int64_t size) {
  std::size_t sort = 0, scan = 0;
  cub::DoubleBuffer<std::uint64_t> keys;
  cub::DoubleBuffer<std::uint32_t> indices;
  check(cub::DeviceRadixSort::SortPairs(nullptr, sort, keys.Current(), keys.Alternate(), indices.Current(),
                                        indices.Alternate(), size));
  check(cub::DeviceScan::ExclusiveSum(nullptr, scan, static_cast<std::int32_t*>(nullptr),
                                      static_cast<std::int32_t*>(nullptr), size));
  return std::max(sort, scan);
}

FuseScratch divide(std::uint8_t* memory, std::int64_t size) {
  FuseScratch scratch{};
  std::size_t used = 0;
  const auto take = [&](auto& pointer, std::int64_t count, std::size_t each) {
    pointer = reinterpret_cast<std::decay_t<decltype(pointer)>>(memory + used);
    used += (static_cast<std::size_t>(count) * each + 255) / 256 * 256;
  };
  take(scratch.keys, size, sizeof(std::uint64_t));
  take(scratch.sorted_keys, size, sizeof(std::uint64_t));
  take(scratch.indices, size, sizeof(std::uint32_t));
  take(scratch.sorted_indices, size, sizeof(std::uint32_t));
  take(scratch.is_first, size, sizeof(std::int32_t));
  take(scratch.row, size, sizeof(std::int32_t));
  take(scratch.begin, size, sizeof(std::int64_t));
  take(scratch.outside, 1, sizeof(std::int64_t));
  scratch.library_bytes = library_bytes_for(size);
  take(scratch.library, 1, scratch.library_bytes);
  scratch.bytes = used;
  return scratch;
}

__global__ void find_cells(FusePoints op, FuseScratch scratch) {
  for (std::int64_t i = thread_index(); i < op.size(); i += thread_count()) {
    const std::uint64_t key = Cell::key(op.points.data + 3 * i, op.confidence.data[i], op.voxel);
    scratch.keys[i] = key;
    scratch.indices[i] = static_cast<std::uint32_t>(i);
    scratch.is_first[i] = 0;
    if (key == Cell::kOutside) atomicAdd(reinterpret_cast<unsigned long long*>(scratch.outside), 1ull);
  }
}

__device__ bool begins_a_cell(const FuseScratch& scratch, std::int64_t place) {
  const std::uint64_t key = scratch.sorted_keys[place];
  return key < Cell::kOutside && (place == 0 || scratch.sorted_keys[place - 1] != key);
}

__global__ void mark_first(std::int64_t size, FuseScratch scratch) {
  for (std::int64_t place = thread_index(); place < size; place += thread_count()) {
    if (begins_a_cell(scratch, place)) scratch.is_first[scratch.sorted_indices[place]] = 1;
  }
}

__global__ void find_begins(std::int64_t size, FuseScratch scratch) {
  for (std::int64_t place = thread_index(); place < size; place += thread_count()) {
    if (begins_a_cell(scratch, place)) scratch.begin[scratch.row[scratch.sorted_indices[place]]] = place;
  }
}

__global__ void add_cells(FusePoints op, FuseScratch scratch) {
  const std::int64_t last = op.size() - 1, rows = scratch.row[last] + scratch.is_first[last];
  for (std::int64_t row = thread_index(); row < rows; row += thread_count()) {
    std::int64_t place = scratch.begin[row];
    const std::uint64_t key = scratch.sorted_keys[place];
    VoxelSum sum;
    for (; place < op.size() && scratch.sorted_keys[place] == key; ++place) sum.add(op, scratch.sorted_indices[place]);
    sum.write(op, row);
  }
}

}  // namespace

std::size_t fuse_scratch_bytes(std::int64_t points) { return points == 0 ? 0 : divide(nullptr, points).bytes; }

FuseResult fuse_points(const FusePoints& op, void* stream_handle) {
  const std::int64_t size = op.size();
  if (size == 0) return {0, 0};
  if (size > INT32_MAX) throw std::invalid_argument("points must be fewer than 2^31 on CUDA");
  const auto stream = static_cast<cudaStream_t>(stream_handle);
  FuseScratch scratch = divide(op.scratch.data, size);
  const unsigned blocks = blocks_for(size);

  check(cudaMemsetAsync(scratch.outside, 0, sizeof(std::int64_t), stream));
  find_cells<<<blocks, kThreads, 0, stream>>>(op, scratch);
  check(cudaGetLastError());
  check(cub::DeviceRadixSort::SortPairs(scratch.library, scratch.library_bytes, scratch.keys, scratch.sorted_keys,
                                        scratch.indices, scratch.sorted_indices, size, 0, 64, stream));
  mark_first<<<blocks, kThreads, 0, stream>>>(size, scratch);
  check(cudaGetLastError());
  check(cub::DeviceScan::ExclusiveSum(scratch.library, scratch.library_bytes, scratch.is_first, scratch.row, size,
                                      stream));
  find_begins<<<blocks, kThreads, 0, stream>>>(size, scratch);
  add_cells<<<blocks, kThreads, 0, stream>>>(op, scratch);
  check(cudaGetLastError());

  std::int32_t last_row = 0, last_is_first = 0;
  FuseResult result{};
  check(cudaMemcpyAsync(&last_row, scratch.row + size - 1, sizeof last_row, cudaMemcpyDeviceToHost, stream));
  check(cudaMemcpyAsync(&last_is_first, scratch.is_first + size - 1, sizeof last_is_first, cudaMemcpyDeviceToHost,
                        stream));
  check(cudaMemcpyAsync(&result.outside, scratch.outside, sizeof result.outside, cudaMemcpyDeviceToHost, stream));
  check(cudaStreamSynchronize(stream));
  result.voxels = last_row + last_is_first;
  return result;
}

}  // namespace dpm::cuda
