// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include "dpm/array.h"

namespace dpm {

/// Point maps of many views at one instant into one cloud: one point for each cell of a grid about the origin.
struct FusePoints {
  Array<const float, 2> points;          // [N, 3]
  Array<const std::uint8_t, 2> colors;   // [N, 3]
  Array<const float, 1> confidence;      // [N] the weight
  Array<const float, 2> velocity;        // [N, 3]; not finite where unknown
  Array<const std::uint8_t, 1> dynamic;  // [N] 0 or 1
  Array<const std::int32_t, 1> count;    // [N] points that each one stands for; no elements where each is one
  float voxel;                           // edge of a cell

  // Out, at most N rows, in the order in which the cells first appear among the points.
  Array<float, 2> fused_points;
  Array<std::uint8_t, 2> fused_colors;
  Array<float, 1> fused_confidence;
  Array<float, 2> fused_velocity;
  Array<std::uint8_t, 1> fused_dynamic;
  Array<std::int32_t, 1> fused_count;

  Array<std::uint8_t, 1> scratch;  // [cuda::fuse_scratch_bytes(N)], of the CUDA launcher

  DPM_HD std::int64_t size() const { return points.shape[0]; }
};

/// What a fusion made: rows written, and good points that lay outside the grid and were left out.
struct FuseResult {
  std::int64_t voxels, outside;
};

/// A cell of the grid: 21 bits an axis, counted from the far corner. In 32-bit lanes and without branches.
struct Cell {
  static constexpr std::int32_t kHalf = 1 << 20;  // cells from the origin to the grid's end
  static constexpr std::uint64_t kIgnored = ~std::uint64_t{0}, kOutside = kIgnored - 1;

  std::int32_t axis[3];
  std::int32_t outside, ignored;  // 0 or 1

  DPM_HD static Cell of(const float* point, float confidence, float voxel) {
    const float end = static_cast<float>(kHalf);
    Cell cell{};
    std::int32_t counts = (confidence > 0) & (confidence < INFINITY), inside = 1;
    for (int k = 0; k < 3; ++k) {
      const float at = floorf(point[k] / voxel);
      const std::int32_t here = (at >= -end) & (at < end);
      cell.axis[k] = static_cast<std::int32_t>(here ? at : 0.0f) + kHalf;
      counts &= fabsf(point[k]) < INFINITY;
      inside &= here;
    }
    cell.ignored = !counts;
    cell.outside = counts & !inside;
    return cell;
  }

  DPM_HD static std::uint64_t key(std::uint32_t x, std::uint32_t y, std::uint32_t z, bool outside, bool ignored) {
    const std::uint64_t key = std::uint64_t{x} << 42 | std::uint64_t{y} << 21 | z;
    return ignored ? kIgnored : outside ? kOutside : key;
  }
  DPM_HD static std::uint64_t key(const float* point, float confidence, float voxel) {
    const Cell cell = of(point, confidence, voxel);
    return key(static_cast<std::uint32_t>(cell.axis[0]), static_cast<std::uint32_t>(cell.axis[1]),
               static_cast<std::uint32_t>(cell.axis[2]), cell.outside != 0, cell.ignored != 0);
  }

  /// Spreads keys evenly over 64 bits (the finaliser of MurmurHash3, public domain).
  DPM_HD static std::uint64_t hash(std::uint64_t key) {
    key = (key ^ key >> 33) * 0xff51afd7ed558ccdu;
    key = (key ^ key >> 33) * 0xc4ceb9fe1a85ec53u;
    return key ^ key >> 33;
  }
};

/// The weighted sums of one cell's points, added in their order: the same points give the same bytes on every device.
struct VoxelSum {
  // The fourth of each: weight, weight that moves, weight whose velocity is known.
  double point[4] = {}, color[4] = {}, velocity[4] = {};
  std::int64_t count = 0;

  DPM_HD void add(const FusePoints& op, std::int64_t i) {
    const std::int32_t points = op.count.data == nullptr ? 1 : op.count.data[i];
    const double w = static_cast<double>(op.confidence.data[i]) * points;
    const float* p = op.points.data + 3 * i;
    const std::uint8_t* c = op.colors.data + 3 * i;
    const float* v = op.velocity.data + 3 * i;
    const bool known = 0 * v[0] + 0 * v[1] + 0 * v[2] == 0;  // where all are finite
    const float at[4] = {p[0], p[1], p[2], 1.0f};
    const std::int32_t tint[4] = {c[0], c[1], c[2], op.dynamic.data[i] != 0};
    const float motion[4] = {known ? v[0] : 0.0f, known ? v[1] : 0.0f, known ? v[2] : 0.0f, known ? 1.0f : 0.0f};
    for (int k = 0; k < 4; ++k) {
      point[k] += w * at[k];
      color[k] += w * tint[k];
      velocity[k] += w * motion[k];
    }
    count += points;
  }

  DPM_HD void write(const FusePoints& op, std::int64_t row) const {
    const double weight = point[3], moving = color[3], known = velocity[3];
    for (int axis = 0; axis < 3; ++axis) {
      op.fused_points.data[3 * row + axis] = static_cast<float>(point[axis] / weight);
      op.fused_colors.data[3 * row + axis] = static_cast<std::uint8_t>(color[axis] / weight + 0.5);
      op.fused_velocity.data[3 * row + axis] = known > 0 ? static_cast<float>(velocity[axis] / known) : 0.0f;
    }
    op.fused_confidence.data[row] = static_cast<float>(weight / static_cast<double>(count));
    op.fused_dynamic.data[row] = moving > 0.5 * weight;
    op.fused_count.data[row] = static_cast<std::int32_t>(count < INT32_MAX ? count : INT32_MAX);
  }
};

}  // namespace dpm
