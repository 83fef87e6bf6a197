// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include "dpm/array.h"

namespace dpm {

/// Depth maps to point maps: X = R d K⁻¹ (u, v, 1)ᵀ + t, integer pixel centres.
struct UnprojectDepth {
  Array<const float, 3> depth;              // [S, H, W] along the optical axis; no point where not > 0
  Array<const float, 3> intrinsics;         // [S, 3, 3] pixels, no skew
  Array<const float, 3> world_from_camera;  // [S, 4, 4]
  Array<float, 4> points;                   // [S, H, W, 3] out, world; NaN where there is no point

  DPM_HD std::int64_t rows() const { return depth.shape[0] * depth.shape[1]; }
  DPM_HD std::int64_t columns() const { return depth.shape[2]; }

  /// What the pixels of one row share: X = d (a + u b) + t.
  struct Row {
    const float* DPM_RESTRICT depth;
    float* DPM_RESTRICT out;
    float a[3], b[3], t[3];

    DPM_HD Vector vector(std::int64_t u) const {
      const float d = depth[u] > 0 ? depth[u] : NAN;
      Vector point;
      for (int axis = 0; axis < 3; ++axis) {
        point.axis[axis] = d * (a[axis] + static_cast<float>(u) * b[axis]) + t[axis];
      }
      return point;
    }
  };

  DPM_HD Row row(std::int64_t r) const {
    const std::int64_t s = r / depth.shape[1], v = r % depth.shape[1];
    const float* K = intrinsics.data + 9 * s;
    const float* T = world_from_camera.data + 16 * s;
    const float x = -K[2] / K[0], y = (static_cast<float>(v) - K[5]) / K[4];

    Row row{depth.data + r * columns(), points.data + 3 * r * columns(), {}, {}, {}};
    for (int axis = 0; axis < 3; ++axis) {
      row.a[axis] = T[4 * axis] * x + T[4 * axis + 1] * y + T[4 * axis + 2];
      row.b[axis] = T[4 * axis] / K[0];
      row.t[axis] = T[4 * axis + 3];
    }
    return row;
  }
};

}  // namespace dpm
