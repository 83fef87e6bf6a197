// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include "dpm/array.h"

namespace dpm {

/// The sums from which the similarity that best takes one point set to another follows in closed form (Umeyama 1991).
struct Sim3Moments {
  Array<const float, 2> source;  // [N, 3]
  Array<const float, 2> target;  // [N, 3]
  Array<const float, 1> weight;  // [N]; pairs without a finite weight > 0 or finite points do not count
  bool robust;                   // weights are multiplied by min(1, radius / ‖target - estimate · source‖) (Huber 1964)
  double estimate[12];           // [3, 4] scaled rotation and translation
  double radius;                 // > 0
  Array<double, 2> partial;      // [kBlocks, kSums] scratch
  Array<double, 1> moments;      // [kSums] out

  static constexpr std::int64_t kBlocks = 256;
  /// weight, source [3], target [3], target sourceᵀ [3, 3], ‖source‖², ‖target‖², pairs that counted
  static constexpr int kSums = 19;

  DPM_HD std::int64_t size() const { return source.shape[0]; }
  /// Pairs of one block, and the blocks that have any: known from the size alone, so that sums always round alike.
  DPM_HD std::int64_t chunk() const {
    const std::int64_t even = (size() + kBlocks - 1) / kBlocks, least = 1024;
    return even > least ? even : least;
  }
  DPM_HD std::int64_t blocks() const { return (size() + chunk() - 1) / chunk(); }

  /// Adds pair i to `sums`.
  DPM_HD void add(std::int64_t i, double* sums) const {
    const float* a = source.data + 3 * i;
    const float* b = target.data + 3 * i;
    double w = weight.data[i];
    bool counts = std::isfinite(weight.data[i]) && w > 0;
    for (int axis = 0; axis < 3; ++axis) counts = counts && std::isfinite(a[axis]) && std::isfinite(b[axis]);
    if (!counts) return;
    if (robust) {
      double squared = 0;
      for (int axis = 0; axis < 3; ++axis) {
        const double* row = estimate + 4 * axis;
        const double residual = b[axis] - (row[0] * a[0] + row[1] * a[1] + row[2] * a[2] + row[3]);
        squared += residual * residual;
      }
      const double distance = sqrt(squared);
      w *= distance > radius ? radius / distance : 1.0;
    }
    sums[0] += w;
    for (int row = 0; row < 3; ++row) {
      sums[1 + row] += w * a[row];
      sums[4 + row] += w * b[row];
      for (int column = 0; column < 3; ++column) sums[7 + 3 * row + column] += w * b[row] * a[column];
      sums[16] += w * a[row] * a[row];
      sums[17] += w * b[row] * b[row];
    }
    sums[18] += 1;
  }

  /// From the sums of all pairs, in the same places: the weight, then means and, about them, covariance and variances.
  DPM_HD void write(const double* sums) const {
    double* out = moments.data;
    for (int k = 0; k < kSums; ++k) out[k] = k == 0 || k == 18 ? sums[k] : sums[k] / sums[0];
    for (int row = 0; row < 3; ++row) {
      const double a = out[1 + row], b = out[4 + row];
      for (int column = 0; column < 3; ++column) out[7 + 3 * row + column] -= b * out[1 + column];
      out[16] -= a * a;
      out[17] -= b * b;
    }
  }
};

}  // namespace dpm
