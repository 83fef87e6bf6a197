// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "bindings.h"

namespace dpm::python {
namespace {

bool all_finite(Capsule capsule) {
  const DLTensor& source = tensor(capsule);
  std::int64_t size = 1;
  for (int axis = 0; axis < source.ndim; ++axis) size *= source.shape[axis];
  const float* values = data<const float>(source);
  for (std::int64_t i = 0; i < size; ++i) {
    if (!std::isfinite(values[i])) return false;
  }
  return true;
}

}  // namespace

void bind_maps(pybind11::module_& m) {
  m.attr("MASK_SCRATCH_BYTES") = sizeof(SelectionScratch);

  m.def("all_finite", &all_finite);

  m.def("unproject_depth",
        [](Capsule depth, Capsule intrinsics, Capsule world_from_camera, Capsule points, Stream stream) {
          const UnprojectDepth op{view<const float, 3>(depth), view<const float, 3>(intrinsics),
                                  view<const float, 3>(world_from_camera), view<float, 4>(points)};
          run(op, Device(depth, stream), DPM_LAUNCHERS(unproject_depth));
        });

  m.def("scene_flow", [](Capsule points, Capsule moved, OptionalCapsule seconds, Capsule flow, Stream stream) {
    const SceneFlow op{view<const float, 4>(points), view<const float, 4>(moved),
                       optional_view<const float, 1>(seconds), view<float, 4>(flow)};
    run(op, Device(points, stream), DPM_LAUNCHERS(scene_flow));
  });

  m.def("camera_depth", [](Capsule points, Capsule world_from_camera, Capsule depth, Stream stream) {
    const CameraDepth op{view<const float, 4>(points), view<const float, 3>(world_from_camera), view<float, 3>(depth)};
    run(op, Device(points, stream), DPM_LAUNCHERS(camera_depth));
  });

  m.def("pointmap_dynamic_mask", [](Capsule moved, Capsule points, float factor, float floor, bool mean, Capsule mask,
                                    OptionalCapsule distance, OptionalCapsule scratch, Stream stream) {
    const PointmapDynamicMask op{view<const float, 4>(moved),
                                 view<const float, 4>(points),
                                 factor,
                                 floor,
                                 mean ? Statistic::kMean : Statistic::kMedian,
                                 view<std::uint8_t, 3>(mask),
                                 optional_view<float, 3>(distance),
                                 optional_view<std::uint8_t, 2>(scratch)};
    run(op, Device(moved, stream), DPM_LAUNCHERS(pointmap_dynamic_mask));
  });

  m.def("flow_dynamic_mask", [](Capsule flow, Capsule depth, Capsule intrinsics, Capsule other_intrinsics,
                                Capsule other_from_camera, float threshold, Capsule mask, Stream stream) {
    const FlowDynamicMask op{view<const float, 4>(flow),
                             view<const float, 3>(depth),
                             view<const float, 3>(intrinsics),
                             view<const float, 3>(other_intrinsics),
                             view<const float, 3>(other_from_camera),
                             threshold,
                             view<std::uint8_t, 3>(mask)};
    run(op, Device(flow, stream), DPM_LAUNCHERS(flow_dynamic_mask));
  });

  m.def("occlusion_mask", [](Capsule forward, Capsule backward, float threshold, Capsule mask, Stream stream) {
    const OcclusionMask op{view<const float, 4>(forward), view<const float, 4>(backward), threshold,
                           view<std::uint8_t, 3>(mask)};
    run(op, Device(forward, stream), DPM_LAUNCHERS(occlusion_mask));
  });
}

}  // namespace dpm::python
