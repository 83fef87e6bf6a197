// SPDX-License-Identifier: Apache-2.0
#include "dpm/operations.h"
#include "launch.cuh"

void dpm::cuda::scene_flow(const SceneFlow& op, void* stream) { launch_vectors(op, stream); }
void dpm::cuda::camera_depth(const CameraDepth& op, void* stream) { launch(op, stream); }
