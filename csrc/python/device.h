// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>

#include "dlpack_array.h"
#include "dpm/operations.h"

namespace dpm::python {

/// Where a call runs: as its first array, on that device's current stream.
struct Device {
  bool cuda;
  int index;
  void* stream;

  Device(const pybind11::capsule& first, std::uintptr_t stream_handle)
      : cuda(tensor(first).device.device_type == kDLCUDA),
        index(tensor(first).device.device_id),
        stream(reinterpret_cast<void*>(stream_handle)) {}
};

template <class T>
struct NotDeducedOf {
  using type = T;
};
template <class T>
using NotDeduced = typename NotDeducedOf<T>::type;  // so that nullptr may be given

/// Runs one of the two launchers of an operation, without Python's lock.
template <class Op, class Result>
Result run(const Op& op, const Device& device, Result (*on_cpu)(const Op&),
           [[maybe_unused]] NotDeduced<Result (*)(const Op&, void*)> on_cuda) {
  const pybind11::gil_scoped_release release;
  if (!device.cuda) return on_cpu(op);
#ifdef DPM_CUDA
  const cuda::DeviceScope scope(device.index);
  return on_cuda(op, device.stream);
#else
  throw std::runtime_error("the kernels were built without CUDA; build them again with nvcc on PATH and DPM_CUDA=ON");
#endif
}

}  // namespace dpm::python

/// Both launchers of an operation, of which the second may not have been built.
#ifdef DPM_CUDA
#define DPM_LAUNCHERS(name) &dpm::cpu::name, &dpm::cuda::name
#else
#define DPM_LAUNCHERS(name) &dpm::cpu::name, nullptr
#endif
