// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pybind11/pybind11.h>

#include <string>

namespace dpm::python {

/// Writes the taps of outputs [begin, end) of an axis resampled from `inputs` to `outputs` elements.
/// Arrays as in dpm::Taps; the weights' second axis bounds the taps.
void resample_taps(std::int64_t inputs, std::int64_t outputs, std::int64_t begin, bool lanczos,
                   const pybind11::capsule& first, const pybind11::capsule& count, const pybind11::capsule& weights);

}  // namespace dpm::python
