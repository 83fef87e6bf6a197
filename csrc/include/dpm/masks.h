// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstring>

#include "dpm/array.h"

namespace dpm {

/// The 31 bits of a number that is not negative, as three digits that a selection finds from the highest.
struct Digits {
  static constexpr int kCount = 3;
  DPM_HD static constexpr int width(int digit) { return digit == 0 ? 11 : 10; }
  DPM_HD static constexpr int shift(int digit) { return 10 * (2 - digit); }
  DPM_HD static constexpr int first_bin(int digit) { return digit == 0 ? 0 : 1024 * (digit + 1); }
  static constexpr int kBins = 4096;
};

/// What the CUDA launcher keeps of a view between its kernels.
struct SelectionScratch {
  static constexpr int kBlocks = 128;  // that share a view
  std::uint32_t counts[Digits::kBins];
  std::uint32_t found, rank;
  double sums[kBlocks];
  unsigned long long finite[kBlocks];
};

/// What a view's own displacements are measured against.
enum class Statistic : int { kMedian, kMean };

/// Which pixels moved: ‖moved - points‖ > max(factor · statistic of the view, floor). POMATO eq. 9.
struct PointmapDynamicMask {
  Array<const float, 4> moved;   // [S, H, W, 3]
  Array<const float, 4> points;  // [S, H, W, 3]
  float factor, floor;
  Statistic statistic;
  Array<std::uint8_t, 3> mask;     // [S, H, W] out; 0 where either point is not finite
  Array<float, 3> distance;        // [S, H, W] scratch of the CUDA launcher
  Array<std::uint8_t, 2> scratch;  // [S, sizeof(SelectionScratch)] of the CUDA launcher

  DPM_HD std::int64_t views() const { return mask.shape[0]; }
  DPM_HD std::int64_t pixels() const { return mask.shape[1] * mask.shape[2]; }
};

/// ‖a - b‖ of two points; not finite where either is not.
DPM_HD float distance(const float* DPM_RESTRICT a, const float* DPM_RESTRICT b) {
  const float x = a[0] - b[0], y = a[1] - b[1], z = a[2] - b[2];
  return sqrtf(x * x + y * y + z * z);
}

/// Order-preserving bits of a number that is not negative; infinity and NaN come last.
DPM_HD std::uint32_t order(float value) {
  std::uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits & 0x7fffffffu;
}
constexpr std::uint32_t kInfinityOrder = 0x7f800000u;

}  // namespace dpm
