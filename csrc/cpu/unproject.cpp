// SPDX-License-Identifier: Apache-2.0
#include "dpm/operations.h"
#include "launch.h"

void dpm::cpu::unproject_depth(const UnprojectDepth& op) { launch_vectors(op); }
