// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef __CUDACC__
#define DPM_HD __host__ __device__ __forceinline__
#else
#define DPM_HD inline
#endif
#define DPM_RESTRICT __restrict__

namespace dpm {

/// Somebody else's contiguous memory with a shape. All that an operation knows of its data.
template <class T, int Rank>
struct Array {
  T* data;
  std::int64_t shape[Rank];
};

/// Three numbers of one element.
struct Vector {
  float axis[3];
};

}  // namespace dpm
