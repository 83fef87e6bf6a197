// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include "dpm/array.h"

namespace dpm {

DPM_HD bool finite(const Vector& v) {
  return std::isfinite(v.axis[0]) && std::isfinite(v.axis[1]) && std::isfinite(v.axis[2]);
}

/// How each pixel's content moves between two point maps of one view: displacement, or velocity where times are given.
struct SceneFlow {
  Array<const float, 4> points;   // [S, H, W, 3] at one time
  Array<const float, 4> moved;    // [S, H, W, 3] at another, same frame and unit
  Array<const float, 1> seconds;  // [S] from the one to the other; no elements for displacement
  Array<float, 4> flow;           // [S, H, W, 3] out, unit or unit/s; NaN where either point or the rate is not finite

  DPM_HD std::int64_t rows() const { return points.shape[0] * points.shape[1]; }
  DPM_HD std::int64_t columns() const { return points.shape[2]; }

  struct Row {
    const float* DPM_RESTRICT points;
    const float* DPM_RESTRICT moved;
    float* DPM_RESTRICT out;
    float seconds;

    DPM_HD Vector vector(std::int64_t u) const {
      Vector flow;
      for (int axis = 0; axis < 3; ++axis) flow.axis[axis] = (moved[3 * u + axis] - points[3 * u + axis]) / seconds;
      const bool known = finite(flow);
      for (int axis = 0; axis < 3; ++axis) flow.axis[axis] = known ? flow.axis[axis] : NAN;
      return flow;
    }
  };

  DPM_HD Row row(std::int64_t r) const {
    const std::int64_t at = 3 * r * columns();
    const float dt = seconds.data == nullptr ? 1.0f : seconds.data[r / points.shape[1]];
    return {points.data + at, moved.data + at, flow.data + at, dt};
  }
};

/// Depth along the optical axis of world points: z = r₃ · (X - t), r₃ the third column of R.
struct CameraDepth {
  Array<const float, 4> points;             // [S, H, W, 3] world
  Array<const float, 3> world_from_camera;  // [S, 4, 4]
  Array<float, 3> depth;                    // [S, H, W] out; NaN where the point is not finite

  DPM_HD std::int64_t rows() const { return points.shape[0] * points.shape[1]; }
  DPM_HD std::int64_t columns() const { return points.shape[2]; }

  struct Row {
    const float* DPM_RESTRICT points;
    float* DPM_RESTRICT depth;
    float axis[3], center[3];

    DPM_HD void operator()(std::int64_t u) const {
      float z = 0;
      for (int k = 0; k < 3; ++k) z += axis[k] * (points[3 * u + k] - center[k]);
      depth[u] = std::isfinite(z) ? z : NAN;
    }
  };

  DPM_HD Row row(std::int64_t r) const {
    const float* T = world_from_camera.data + 16 * (r / points.shape[1]);
    return {points.data + 3 * r * columns(), depth.data + r * columns(), {T[2], T[6], T[10]}, {T[3], T[7], T[11]}};
  }
};

}  // namespace dpm
