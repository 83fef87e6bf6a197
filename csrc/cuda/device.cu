// SPDX-License-Identifier: Apache-2.0
#include "dpm/operations.h"
#include "launch.cuh"

namespace dpm::cuda {

DeviceScope::DeviceScope(int device) {
  check(cudaGetDevice(&previous_));
  if (device != previous_) check(cudaSetDevice(device));
}

DeviceScope::~DeviceScope() {
  int current = 0;
  if (cudaGetDevice(&current) == cudaSuccess && current != previous_) cudaSetDevice(previous_);
}

}  // namespace dpm::cuda
