// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "bindings.h"

PYBIND11_MODULE(_kernels, m) {
  m.doc() = "Unchecked kernels. Use dpm_core.kernels.";
  if (const char* missing = dpm::cpu::missing_instructions()) {
    throw pybind11::import_error(std::string("they were built for a processor with ") + missing +
                                 ", which this one has not; build them here, or with DPM_CPU= for any processor");
  }
#ifdef DPM_CUDA
  m.attr("BUILT_WITH_CUDA") = true;
#else
  m.attr("BUILT_WITH_CUDA") = false;
#endif
  dpm::python::bind_images(m);
  dpm::python::bind_maps(m);
  dpm::python::bind_clouds(m);
}
