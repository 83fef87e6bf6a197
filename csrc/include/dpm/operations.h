// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dpm/camera.h"
#include "dpm/flow_masks.h"
#include "dpm/fuse.h"
#include "dpm/images.h"
#include "dpm/masks.h"
#include "dpm/motion.h"
#include "dpm/pack.h"
#include "dpm/sim3.h"
#include "dpm/unproject.h"

/// What the library offers: one line an operation, once for each kind of device.
namespace dpm::cpu {
/// What this build uses and the processor at hand has not, or nullptr.
const char* missing_instructions();

void resize_rows(const ResizeRows&);
void resize_columns(const ResizeColumns<float>&);
void resize_columns(const ResizeColumns<Half>&);
void unproject_depth(const UnprojectDepth&);
void scene_flow(const SceneFlow&);
void camera_depth(const CameraDepth&);
void pointmap_dynamic_mask(const PointmapDynamicMask&);
void flow_dynamic_mask(const FlowDynamicMask&);
void occlusion_mask(const OcclusionMask&);
FuseResult fuse_points(const FusePoints&);
std::int64_t pack_cloud(const PackCloud&);
void sim3_moments(const Sim3Moments&);
void sim3_residuals(const Sim3Residuals&);
void project_zbuffer(const ProjectZbuffer&);
void seen_through(const SeenThrough&);
}  // namespace dpm::cpu

namespace dpm::cuda {
void resize_rows(const ResizeRows&, void* stream);
void resize_columns(const ResizeColumns<float>&, void* stream);
void resize_columns(const ResizeColumns<Half>&, void* stream);
void unproject_depth(const UnprojectDepth&, void* stream);
void scene_flow(const SceneFlow&, void* stream);
void camera_depth(const CameraDepth&, void* stream);
void pointmap_dynamic_mask(const PointmapDynamicMask&, void* stream);
void flow_dynamic_mask(const FlowDynamicMask&, void* stream);
void occlusion_mask(const OcclusionMask&, void* stream);
std::size_t fuse_scratch_bytes(std::int64_t points);
FuseResult fuse_points(const FusePoints&, void* stream);
std::int64_t pack_cloud(const PackCloud&, void* stream);
void sim3_moments(const Sim3Moments&, void* stream);
void sim3_residuals(const Sim3Residuals&, void* stream);
void project_zbuffer(const ProjectZbuffer&, void* stream);
void seen_through(const SeenThrough&, void* stream);

/// Makes a device current for a scope.
class DeviceScope {
 public:
  explicit DeviceScope(int device);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int previous_ = 0;
};
}  // namespace dpm::cuda
