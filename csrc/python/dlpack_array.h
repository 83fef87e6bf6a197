// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <dlpack/dlpack.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>

#include "dpm/array.h"

namespace dpm::python {

inline const DLTensor& tensor(const pybind11::capsule& capsule) {
  return capsule.get_pointer<DLManagedTensor>()->dl_tensor;
}

/// Where the first element lies.
template <class T>
T* data(const DLTensor& tensor) {
  return reinterpret_cast<T*>(static_cast<char*>(tensor.data) + tensor.byte_offset);
}

/// The view of a DLPack capsule; the caller's tensor keeps the memory alive during the call.
/// Types, shapes, devices and contiguity are checked once, in dpm_core.kernels, where messages can be good.
template <class T, int Rank>
Array<T, Rank> view(const pybind11::capsule& capsule) {
  const DLTensor& source = tensor(capsule);
  Array<T, Rank> array{};
  array.data = data<T>(source);
  for (int axis = 0; axis < Rank; ++axis) array.shape[axis] = source.shape[axis];
  return array;
}

/// A view of no elements where the caller gave None.
template <class T, int Rank>
Array<T, Rank> optional_view(const std::optional<pybind11::capsule>& capsule) {
  return capsule ? view<T, Rank>(*capsule) : Array<T, Rank>{};
}

}  // namespace dpm::python
