// SPDX-License-Identifier: Apache-2.0
#include "dpm/operations.h"
#include "launch.cuh"

void dpm::cuda::unproject_depth(const UnprojectDepth& op, void* stream) { launch_vectors(op, stream); }
