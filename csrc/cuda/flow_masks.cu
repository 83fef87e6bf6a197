// SPDX-License-Identifier: Apache-2.0
#include "dpm/operations.h"
#include "launch.cuh"

void dpm::cuda::flow_dynamic_mask(const FlowDynamicMask& op, void* stream) { launch(op, stream); }
void dpm::cuda::occlusion_mask(const OcclusionMask& op, void* stream) { launch(op, stream); }
