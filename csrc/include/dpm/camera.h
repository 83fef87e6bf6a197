// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstring>

#include "dpm/array.h"

namespace dpm {

/// One pinhole camera by value: 12 numbers of camera_from_world and 4 of the intrinsics.
struct Camera {
  float rotation[9], translation[3];  // camera_from_world
  float focal[2], center[2];          // pixels

  struct Pixel {
    std::int64_t u, v;  // -1 where the point is not in the image
    float z;
  };

  /// The nearest pixel centre and the depth of a world point in an image of that size.
  DPM_HD Pixel project(const float* point, std::int64_t height, std::int64_t width) const {
    float p[3];
    for (int axis = 0; axis < 3; ++axis) {
      const float* row = rotation + 3 * axis;
      p[axis] = row[0] * point[0] + row[1] * point[1] + row[2] * point[2] + translation[axis];
    }
    const float u = floorf(focal[0] * p[0] / p[2] + center[0] + 0.5f);
    const float v = floorf(focal[1] * p[1] / p[2] + center[1] + 0.5f);
    const bool inside = p[2] > 0 && p[2] < INFINITY && u >= 0 && u < static_cast<float>(width) && v >= 0 &&
                        v < static_cast<float>(height);
    if (!inside) return {-1, -1, p[2]};
    return {static_cast<std::int64_t>(u), static_cast<std::int64_t>(v), p[2]};
  }
};

/// What a camera sees of a cloud: at each pixel the nearest of the points whose projection rounds to it.
struct ProjectZbuffer {
  Array<const float, 2> points;  // [N, 3] world
  Camera camera;
  Array<std::uint64_t, 2> nearest;  // [H, W] scratch: depth in the upper bits, index in the lower, so that one
                                    // atomic minimum chooses both, and the lower index of equal depths
  Array<float, 2> depth;            // [H, W] out; NaN where there is no point
  Array<std::int32_t, 2> index;     // [H, W] out, of the point; -1 where there is none

  static constexpr std::uint64_t kNone = ~std::uint64_t{0};

  DPM_HD std::int64_t size() const { return points.shape[0]; }
  DPM_HD std::int64_t pixels() const { return depth.shape[0] * depth.shape[1]; }

  /// Where point i is a candidate, or -1; and as what.
  DPM_HD std::int64_t pixel_of(std::int64_t i, std::uint64_t& candidate) const {
    const Camera::Pixel pixel = camera.project(points.data + 3 * i, depth.shape[0], depth.shape[1]);
    if (pixel.u < 0) return -1;
    std::uint32_t bits;  // of a positive number, which order as it does
    memcpy(&bits, &pixel.z, sizeof bits);
    candidate = std::uint64_t{bits} << 32 | static_cast<std::uint32_t>(i);
    return pixel.v * depth.shape[1] + pixel.u;
  }

  DPM_HD void resolve(std::int64_t pixel) const {
    const std::uint64_t found = nearest.data[pixel];
    const auto bits = static_cast<std::uint32_t>(found >> 32);
    float z;
    memcpy(&z, &bits, sizeof z);
    depth.data[pixel] = found == kNone ? NAN : z;
    index.data[pixel] = found == kNone ? -1 : static_cast<std::int32_t>(found);
  }
};

/// Points that a camera sees through: its depth at their pixel lies behind them by more than a margin.
struct SeenThrough {
  Array<const float, 2> points;  // [N, 3] world
  Array<const float, 2> depth;   // [H, W] what the camera measured; no verdict where not > 0
  Camera camera;
  float margin, relative;       // the depth must exceed z (1 + relative) + margin
  Array<std::uint8_t, 1> mask;  // [N] out

  DPM_HD std::int64_t rows() const { return 1; }
  DPM_HD std::int64_t columns() const { return points.shape[0]; }
  DPM_HD SeenThrough row(std::int64_t) const { return *this; }

  DPM_HD void operator()(std::int64_t i) const {
    const Camera::Pixel pixel = camera.project(points.data + 3 * i, depth.shape[0], depth.shape[1]);
    bool through = false;
    if (pixel.u >= 0) through = depth.data[pixel.v * depth.shape[1] + pixel.u] > pixel.z * (1 + relative) + margin;
    mask.data[i] = through;
  }
};

}  // namespace dpm
