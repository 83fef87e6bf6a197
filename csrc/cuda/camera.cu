// SPDX-License-Identifier: Apache-2.0
#include "dpm/operations.h"
#include "launch.cuh"

namespace dpm::cuda {
namespace {

__global__ void keep_nearest(ProjectZbuffer op) {
  for (std::int64_t i = thread_index(); i < op.size(); i += thread_count()) {
    std::uint64_t candidate = 0;
    const std::int64_t pixel = op.pixel_of(i, candidate);
    if (pixel < 0) continue;
    auto* nearest = reinterpret_cast<unsigned long long*>(op.nearest.data + pixel);
    if (candidate < *nearest) atomicMin(nearest, static_cast<unsigned long long>(candidate));
  }
}

__global__ void resolve(ProjectZbuffer op) {
  for (std::int64_t pixel = thread_index(); pixel < op.pixels(); pixel += thread_count()) op.resolve(pixel);
}

}  // namespace

void project_zbuffer(const ProjectZbuffer& op, void* stream_handle) {
  if (op.pixels() == 0) return;
  const auto stream = static_cast<cudaStream_t>(stream_handle);
  check(cudaMemsetAsync(op.nearest.data, 0xff, static_cast<std::size_t>(op.pixels()) * sizeof(std::uint64_t), stream));
  if (op.size() > 0) keep_nearest<<<blocks_for(op.size()), kThreads, 0, stream>>>(op);
  check(cudaGetLastError());
  resolve<<<blocks_for(op.pixels()), kThreads, 0, stream>>>(op);
  check(cudaGetLastError());
}

void seen_through(const SeenThrough& op, void* stream) { launch(op, stream); }

}  // namespace dpm::cuda
