// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include "dpm/array.h"

namespace dpm {

/// Pixels whose optical flow is not the camera's: ‖f_cam - f‖ > τ, f_cam = π(D K' R K⁻¹ p + K' t) - p. D²USt3R eq. 5,
/// whose printed sign selects the static ones.
struct FlowDynamicMask {
  Array<const float, 4> flow;               // [S, H, W, 2] observed, pixels
  Array<const float, 3> depth;              // [S, H, W]
  Array<const float, 3> intrinsics;         // [S, 3, 3] of this view, no skew
  Array<const float, 3> other_intrinsics;   // [S, 3, 3] of the view that the flow leads to, no skew
  Array<const float, 3> other_from_camera;  // [S, 4, 4]
  float threshold;                          // τ, pixels
  Array<std::uint8_t, 3> mask;              // [S, H, W] out; 0 where flow or depth is unknown or content falls behind

  DPM_HD std::int64_t rows() const { return depth.shape[0] * depth.shape[1]; }
  DPM_HD std::int64_t columns() const { return depth.shape[2]; }

  /// The other view's homogeneous pixel is d (a + u b) + t.
  struct Row {
    const float* DPM_RESTRICT flow;
    const float* DPM_RESTRICT depth;
    std::uint8_t* DPM_RESTRICT mask;
    float a[3], b[3], t[3], v, threshold;

    DPM_HD void operator()(std::int64_t column) const {
      const float u = static_cast<float>(column), d = depth[column];
      const float z = d * (a[2] + u * b[2]) + t[2];
      const float x = (d * (a[0] + u * b[0]) + t[0]) / z - u - flow[2 * column];
      const float y = (d * (a[1] + u * b[1]) + t[1]) / z - v - flow[2 * column + 1];
      const float difference = sqrtf(x * x + y * y);
      mask[column] = (d > 0) & (z > 0) & (difference > threshold) & (difference < INFINITY);
    }
  };

  DPM_HD Row row(std::int64_t r) const {
    const std::int64_t s = r / depth.shape[1];
    const float v = static_cast<float>(r % depth.shape[1]);
    const float* K = intrinsics.data + 9 * s;
    const float* L = other_intrinsics.data + 9 * s;
    const float* T = other_from_camera.data + 16 * s;
    const float x = -K[2] / K[0], y = (v - K[5]) / K[4], slope = 1.0f / K[0];

    Row row{
        flow.data + 2 * r * columns(), depth.data + r * columns(), mask.data + r * columns(), {}, {}, {}, v, threshold};
    for (int axis = 0; axis < 3; ++axis) {
      row.a[axis] = T[4 * axis] * x + T[4 * axis + 1] * y + T[4 * axis + 2];
      row.b[axis] = T[4 * axis] * slope;
      row.t[axis] = T[4 * axis + 3];
    }
    for (int axis = 0; axis < 2; ++axis) {
      const float focal = L[4 * axis], center = L[3 * axis + 2];
      row.a[axis] = focal * row.a[axis] + center * row.a[2];
      row.b[axis] = focal * row.b[axis] + center * row.b[2];
      row.t[axis] = focal * row.t[axis] + center * row.t[2];
    }
    return row;
  }
};

/// Pixels that the other view does not see: ‖f(p) + b(p + f(p))‖ > t, b bilinear. D²USt3R eq. 4.
struct OcclusionMask {
  Array<const float, 4> forward;   // [S, H, W, 2] pixels, from this view to the other
  Array<const float, 4> backward;  // [S, H, W, 2] pixels, from the other view to this
  float threshold;                 // t, pixels
  Array<std::uint8_t, 3> mask;     // [S, H, W] out; 1 too where the flow leaves the image or is not finite

  DPM_HD std::int64_t rows() const { return forward.shape[0] * forward.shape[1]; }
  DPM_HD std::int64_t columns() const { return forward.shape[2]; }

  struct Row {
    const float* DPM_RESTRICT forward;
    const float* DPM_RESTRICT backward;  // of the whole view
    std::uint8_t* DPM_RESTRICT mask;
    std::int32_t height, width;
    float v, threshold;

    DPM_HD void operator()(std::int64_t column) const {
      const float right = static_cast<float>(width - 1), bottom = static_cast<float>(height - 1);
      const float fx = forward[2 * column], fy = forward[2 * column + 1];
      const float x = static_cast<float>(column) + fx, y = v + fy;
      const bool inside = (x >= 0) & (x <= right) & (y >= 0) & (y <= bottom);
      const float safe_x = inside ? x : 0.0f, safe_y = inside ? y : 0.0f;  // so that every lane may look something up
      const std::int32_t x0 = static_cast<std::int32_t>(safe_x), y0 = static_cast<std::int32_t>(safe_y);
      const std::int32_t x1 = x0 + (x0 < width - 1), y1 = y0 + (y0 < height - 1);
      const float wx = safe_x - static_cast<float>(x0), wy = safe_y - static_cast<float>(y0);
      const float* top = backward + 2 * std::int64_t{y0} * width;
      const float* below = backward + 2 * std::int64_t{y1} * width;
      float back[2];
      for (int axis = 0; axis < 2; ++axis) {
        const float upper = weighted(top[2 * x0 + axis], top[2 * x1 + axis], wx);
        const float lower = weighted(below[2 * x0 + axis], below[2 * x1 + axis], wx);
        back[axis] = weighted(upper, lower, wy);
      }
      const float ex = fx + back[0], ey = fy + back[1];
      mask[column] = !(inside & (sqrtf(ex * ex + ey * ey) <= threshold));
    }

    /// Between two values; one without weight does not count, though it be NaN.
    DPM_HD static float weighted(float first, float second, float weight) {
      return weight == 0 ? first : first * (1 - weight) + second * weight;
    }
  };

  DPM_HD Row row(std::int64_t r) const {
    const std::int64_t height = forward.shape[1], s = r / height;
    return {forward.data + 2 * r * columns(),
            backward.data + 2 * s * height * columns(),
            mask.data + r * columns(),
            static_cast<std::int32_t>(height),
            static_cast<std::int32_t>(columns()),
            static_cast<float>(r % height),
            threshold};
  }
};

}  // namespace dpm
