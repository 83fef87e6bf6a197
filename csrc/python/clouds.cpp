// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "bindings.h"

namespace py = pybind11;

namespace dpm::python {
namespace {

/// The entries of a small matrix on the CPU, of either floating type, all of them finite.
template <std::size_t Size>
std::array<double, Size> numbers(const char* name, Capsule capsule) {
  const DLTensor& source = tensor(capsule);
  std::array<double, Size> values{};
  const std::int64_t columns = source.shape[1];
  for (std::size_t i = 0; i < Size; ++i) {
    const auto k = static_cast<std::int64_t>(i);
    const std::int64_t at = k / columns * source.strides[0] + k % columns * source.strides[1];
    values[i] = source.dtype.bits == 64 ? data<const double>(source)[at] : data<const float>(source)[at];
    if (!std::isfinite(values[i])) throw py::value_error(std::string(name) + " must be finite");
  }
  return values;
}

/// From a rigid world_from_camera [4, 4] and intrinsics [3, 3].
Camera camera_from(Capsule world_from_camera, Capsule intrinsics) {
  const auto pose = numbers<16>("world_from_camera", world_from_camera);
  const auto lens = numbers<9>("intrinsics", intrinsics);
  if (lens[0] == 0 || lens[4] == 0) throw py::value_error("intrinsics must have focal lengths other than zero");
  Camera camera{};
  for (int row = 0; row < 3; ++row) {  // R⁻¹ = Rᵀ
    double shift = 0;
    for (int column = 0; column < 3; ++column) {
      camera.rotation[3 * row + column] = static_cast<float>(pose[4 * column + row]);
      shift -= pose[4 * column + row] * pose[4 * column + 3];
    }
    camera.translation[row] = static_cast<float>(shift);
  }
  for (int axis = 0; axis < 2; ++axis) {
    camera.focal[axis] = static_cast<float>(lens[4 * axis]);
    camera.center[axis] = static_cast<float>(lens[3 * axis + 2]);
  }
  return camera;
}

/// The scaled rotation and translation [3, 4] of a similarity [4, 4].
void similarity_from(Capsule estimate, double* rows) {
  const auto similarity = numbers<16>("estimate", estimate);
  std::copy_n(similarity.begin(), 12, rows);
}

std::pair<py::dict, int> cloud_layout(bool colors, bool confidence, bool velocity, bool dynamic) {
  const CloudLayout layout{colors, confidence, velocity, dynamic};
  py::dict offsets;
  const auto add = [&](const char* name, int word) { offsets[name] = 4 * word; };
  add("x", 0), add("y", 1), add("z", 2);
  if (colors) add("rgb", layout.rgb_word());
  if (confidence) add("confidence", layout.confidence_word());
  if (velocity) {
    const int word = layout.velocity_word();
    add("vx", word), add("vy", word + 1), add("vz", word + 2);
  }
  if (dynamic) add("dynamic", layout.dynamic_word());
  return {offsets, layout.step()};
}

std::size_t fuse_scratch_bytes([[maybe_unused]] std::int64_t points) {
#ifdef DPM_CUDA
  return cuda::fuse_scratch_bytes(points);
#else
  return 0;
#endif
}

}  // namespace

void bind_clouds(py::module_& m) {
  m.attr("PACK_SCRATCH_COUNTS") = PackCloud::kBlocks + 1;
  m.attr("SIM3_BLOCKS") = Sim3Moments::kBlocks;
  m.attr("SIM3_SUMS") = Sim3Moments::kSums;
  m.def("fuse_scratch_bytes", &fuse_scratch_bytes);
  m.def("cloud_layout", &cloud_layout);

  m.def("fuse_points",
        [](Capsule points, Capsule colors, Capsule confidence, Capsule velocity, Capsule dynamic, OptionalCapsule count,
           float voxel, Capsule fused_points, Capsule fused_colors, Capsule fused_confidence, Capsule fused_velocity,
           Capsule fused_dynamic, Capsule fused_count, OptionalCapsule scratch, Stream stream) {
          const FusePoints op{view<const float, 2>(points),
                              view<const std::uint8_t, 2>(colors),
                              view<const float, 1>(confidence),
                              view<const float, 2>(velocity),
                              view<const std::uint8_t, 1>(dynamic),
                              optional_view<const std::int32_t, 1>(count),
                              voxel,
                              view<float, 2>(fused_points),
                              view<std::uint8_t, 2>(fused_colors),
                              view<float, 1>(fused_confidence),
                              view<float, 2>(fused_velocity),
                              view<std::uint8_t, 1>(fused_dynamic),
                              view<std::int32_t, 1>(fused_count),
                              optional_view<std::uint8_t, 1>(scratch)};
          const FuseResult result = run(op, Device(points, stream), DPM_LAUNCHERS(fuse_points));
          return std::pair(result.voxels, result.outside);
        });

  m.def("pack_cloud",
        [](Capsule points, OptionalCapsule colors, OptionalCapsule confidence, OptionalCapsule velocity,
           OptionalCapsule dynamic, bool organized, Capsule bytes, OptionalCapsule counts, Stream stream) {
          const PackCloud op{view<const float, 2>(points),
                             optional_view<const std::uint8_t, 2>(colors),
                             optional_view<const float, 1>(confidence),
                             optional_view<const float, 2>(velocity),
                             optional_view<const std::uint8_t, 1>(dynamic),
                             {colors.has_value(), confidence.has_value(), velocity.has_value(), dynamic.has_value()},
                             organized,
                             view<std::uint8_t, 1>(bytes),
                             optional_view<std::int32_t, 1>(counts)};
          return run(op, Device(points, stream), DPM_LAUNCHERS(pack_cloud));
        });

  py::enum_<Loss>(m, "Loss").value("square", Loss::kSquare).value("huber", Loss::kHuber).value("cauchy", Loss::kCauchy);

  m.def("sim3_moments", [](Capsule source, Capsule target, Capsule weight, Loss loss, OptionalCapsule estimate,
                           double radius, Capsule partial, Capsule moments, Stream stream) {
    Sim3Moments op{
        view<const float, 2>(source), view<const float, 2>(target), view<const float, 1>(weight), loss, {}, radius,
        view<double, 2>(partial),     view<double, 1>(moments)};
    if (estimate) similarity_from(*estimate, op.estimate);
    run(op, Device(source, stream), DPM_LAUNCHERS(sim3_moments));
  });

  m.def("sim3_residuals",
        [](Capsule source, Capsule target, Capsule weight, Capsule estimate, Capsule residuals, Stream stream) {
          Sim3Residuals op{view<const float, 2>(source),
                           view<const float, 2>(target),
                           view<const float, 1>(weight),
                           {},
                           view<float, 1>(residuals)};
          similarity_from(estimate, op.estimate);
          run(op, Device(source, stream), DPM_LAUNCHERS(sim3_residuals));
        });

  m.def("project_zbuffer", [](Capsule points, Capsule world_from_camera, Capsule intrinsics, Capsule nearest,
                              Capsule depth, Capsule index, Stream stream) {
    const ProjectZbuffer op{view<const float, 2>(points), camera_from(world_from_camera, intrinsics),
                            view<std::uint64_t, 2>(nearest), view<float, 2>(depth), view<std::int32_t, 2>(index)};
    run(op, Device(points, stream), DPM_LAUNCHERS(project_zbuffer));
  });

  m.def("seen_through", [](Capsule points, Capsule depth, Capsule world_from_camera, Capsule intrinsics, float margin,
                           float relative, Capsule mask, Stream stream) {
    const SeenThrough op{view<const float, 2>(points),
                         view<const float, 2>(depth),
                         camera_from(world_from_camera, intrinsics),
                         margin,
                         relative,
                         view<std::uint8_t, 1>(mask)};
    run(op, Device(points, stream), DPM_LAUNCHERS(seen_through));
  });
}

}  // namespace dpm::python
