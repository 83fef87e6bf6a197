// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include "dpm/array.h"

namespace dpm {

/// Whether a pair of points and its weight are good for anything.
DPM_HD bool pair_counts(const float* source, const float* target, float weight) {
  bool counts = (weight > 0) & (weight < INFINITY);
  for (int axis = 0; axis < 3; ++axis) counts &= (fabsf(source[axis]) < INFINITY) & (fabsf(target[axis]) < INFINITY);
  return counts;
}

/// ‖target - estimate · source‖², where `estimate` [3, 4] is a scaled rotation and a translation.
DPM_HD double squared_residual(const double* estimate, const float* source, const float* target) {
  double squared = 0;
  for (int axis = 0; axis < 3; ++axis) {
    const double* row = estimate + 4 * axis;
    const double residual = target[axis] - (row[0] * source[0] + row[1] * source[1] + row[2] * source[2] + row[3]);
    squared += residual * residual;
  }
  return squared;
}

/// What a residual r does to the weight of its pair, with a radius c.
enum class Loss : int {
  kSquare,  // nothing
  kHuber,   // min(1, c / r)          (Huber 1964)
  kCauchy,  // 1 / (1 + (r / c)²)     (Holland and Welsch 1977)
};

/// The sums from which the similarity that best takes one point set to another follows in closed form (Umeyama 1991).
struct Sim3Moments {
  Array<const float, 2> source;  // [N, 3]
  Array<const float, 2> target;  // [N, 3]
  Array<const float, 1> weight;  // [N]; pairs without a finite weight > 0 or finite points do not count
  Loss loss;                     // of ‖target - estimate · source‖
  double estimate[12];           // [3, 4] scaled rotation and translation; not read for kSquare, as the radius
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

  /// What the loss leaves of a pair's weight.
  DPM_HD double share(const float* a, const float* b) const {
    if (loss == Loss::kSquare) return 1;
    const double squared = squared_residual(estimate, a, b);
    if (loss == Loss::kCauchy) return 1 / (1 + squared / (radius * radius));
    const double distance = sqrt(squared);
    return distance > radius ? radius / distance : 1;
  }

  /// Adds pair i to `sums`.
  DPM_HD void add(std::int64_t i, double* sums) const {
    const float* a = source.data + 3 * i;
    const float* b = target.data + 3 * i;
    if (!pair_counts(a, b, weight.data[i])) return;
    const double w = weight.data[i] * share(a, b);
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

/// ‖target - estimate · source‖ of each pair.
struct Sim3Residuals {
  Array<const float, 2> source;  // [N, 3]
  Array<const float, 2> target;  // [N, 3]
  Array<const float, 1> weight;  // [N]
  double estimate[12];           // [3, 4] scaled rotation and translation
  Array<float, 1> residuals;     // [N] out; NaN where a pair does not count

  DPM_HD std::int64_t rows() const { return 1; }
  DPM_HD std::int64_t columns() const { return residuals.shape[0]; }
  DPM_HD Sim3Residuals row(std::int64_t) const { return *this; }

  DPM_HD void operator()(std::int64_t i) const {
    const float* a = source.data + 3 * i;
    const float* b = target.data + 3 * i;
    const auto residual = static_cast<float>(sqrt(squared_residual(estimate, a, b)));
    residuals.data[i] = pair_counts(a, b, weight.data[i]) ? residual : NAN;
  }
};

}  // namespace dpm
