// SPDX-License-Identifier: Apache-2.0
#include "dpm/operations.h"
#include "launch.h"

void dpm::cpu::flow_dynamic_mask(const FlowDynamicMask& op) { launch(op); }
void dpm::cpu::occlusion_mask(const OcclusionMask& op) { launch(op); }
