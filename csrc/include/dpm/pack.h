// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstring>

#include "dpm/array.h"

namespace dpm {

/// Which fields a packed point has beside x y z, and so where each lies. Fields are four little-endian bytes wide
/// and come in this order; a point's step is a multiple of 16 bytes, so that it is written in whole vectors.
struct CloudLayout {
  bool colors, confidence, velocity, dynamic;

  DPM_HD constexpr int rgb_word() const { return 3; }
  DPM_HD constexpr int confidence_word() const { return rgb_word() + colors; }
  DPM_HD constexpr int velocity_word() const { return confidence_word() + confidence; }
  DPM_HD constexpr int dynamic_word() const { return velocity_word() + 3 * velocity; }
  DPM_HD constexpr int words() const { return (dynamic_word() + dynamic + 3) / 4 * 4; }
  DPM_HD constexpr int step() const { return 4 * words(); }

  /// One bit a field, for the sixteen compiled forms.
  DPM_HD constexpr int index() const { return colors | confidence << 1 | velocity << 2 | dynamic << 3; }
  DPM_HD static constexpr CloudLayout from_index(int index) {
    return {(index & 1) != 0, (index & 2) != 0, (index & 4) != 0, (index & 8) != 0};
  }
};

/// Points into the bytes of a PointCloud2.
struct PackCloud {
  Array<const float, 2> points;          // [N, 3]
  Array<const std::uint8_t, 2> colors;   // [N, 3] red green blue; read where the layout has them, as the others
  Array<const float, 1> confidence;      // [N]
  Array<const float, 2> velocity;        // [N, 3]
  Array<const std::uint8_t, 1> dynamic;  // [N]
  CloudLayout layout;
  bool organized;                 // every point keeps its place; else finite ones only are written, in order
  Array<std::uint8_t, 1> bytes;   // [N * step] out, 16-byte aligned on CUDA
  Array<std::int32_t, 1> counts;  // [kBlocks + 1] scratch of the CUDA launcher

  static constexpr std::int64_t kBlocks = 1024;

  DPM_HD std::int64_t size() const { return points.shape[0]; }

  DPM_HD bool keeps(std::int64_t i) const {
    const float* p = points.data + 3 * i;
    return (fabsf(p[0]) < INFINITY) & (fabsf(p[1]) < INFINITY) & (fabsf(p[2]) < INFINITY);
  }
};

/// One point in the layout of that index. Words are filled one by one, so that they stay in registers.
template <int LayoutIndex>
struct PackedPoint {
  static constexpr CloudLayout kLayout = CloudLayout::from_index(LayoutIndex);
  std::uint32_t words[kLayout.words()];

  DPM_HD PackedPoint(const PackCloud& op, std::int64_t i) {
    for (int axis = 0; axis < 3; ++axis) words[axis] = bits(op.points.data[3 * i + axis]);
    if constexpr (kLayout.colors) {
      const std::uint8_t* c = op.colors.data + 3 * i;
      words[kLayout.rgb_word()] = std::uint32_t{c[0]} << 16 | std::uint32_t{c[1]} << 8 | c[2];
    }
    if constexpr (kLayout.confidence) words[kLayout.confidence_word()] = bits(op.confidence.data[i]);
    if constexpr (kLayout.velocity) {
      for (int axis = 0; axis < 3; ++axis) words[kLayout.velocity_word() + axis] = bits(op.velocity.data[3 * i + axis]);
    }
    if constexpr (kLayout.dynamic) words[kLayout.dynamic_word()] = op.dynamic.data[i] != 0;
    for (int word = kLayout.dynamic_word() + kLayout.dynamic; word < kLayout.words(); ++word) words[word] = 0;
  }

  DPM_HD static std::uint32_t bits(float value) {
    std::uint32_t word;
    memcpy(&word, &value, sizeof word);
    return word;
  }
};

}  // namespace dpm
