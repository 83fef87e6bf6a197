// SPDX-License-Identifier: Apache-2.0
#include "dpm/operations.h"
#include "launch.h"

void dpm::cpu::scene_flow(const SceneFlow& op) { launch_vectors(op); }
void dpm::cpu::camera_depth(const CameraDepth& op) { launch(op); }
