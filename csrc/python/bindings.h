// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>

#include "device.h"
#include "dpm/operations.h"

namespace dpm::python {

using Capsule = const pybind11::capsule&;
using OptionalCapsule = const std::optional<pybind11::capsule>&;
using Stream = std::uintptr_t;

void bind_images(pybind11::module_&);
void bind_maps(pybind11::module_&);
void bind_clouds(pybind11::module_&);

}  // namespace dpm::python
