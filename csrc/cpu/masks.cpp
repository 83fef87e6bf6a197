// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <numeric>
#include <vector>

#include "dpm/operations.h"

namespace dpm::cpu {
namespace {

/// The value at place (count - 1) / 2 among the finite ones of `values`, none of them negative; 0 where there is none.
/// One histogram finds the few among which the selection goes on.
float lower_median(const float* values, std::int64_t size) {
  constexpr int kShift = Digits::shift(0);
  constexpr std::size_t kBins = std::size_t{1} << Digits::width(0), kTables = 4;
  std::vector<std::int32_t> counts(kTables * kBins);  // several, so that equal neighbours need not wait for each other
  for (std::int64_t i = 0; i < size; ++i) ++counts[i % kTables * kBins + (order(values[i]) >> kShift)];

  constexpr std::size_t kFiniteBins = kInfinityOrder >> kShift;
  std::int64_t finite = 0;
  for (std::size_t bin = 0; bin < kFiniteBins; ++bin) {
    for (std::size_t table = 1; table < kTables; ++table) counts[bin] += counts[table * kBins + bin];
    finite += counts[bin];
  }
  if (finite == 0) return 0;
  std::int64_t place = (finite - 1) / 2;
  std::size_t chosen = 0;
  while (place >= counts[chosen]) place -= counts[chosen++];

  std::vector<std::uint32_t> candidates(static_cast<std::size_t>(counts[chosen] + 1));
  std::size_t found = 0;
  for (std::int64_t i = 0; i < size; ++i) {
    const std::uint32_t bits = order(values[i]);
    candidates[found] = bits;  // stays only where it counts: quicker than a branch that cannot be foreseen
    found += bits >> kShift == chosen;
  }
  candidates.pop_back();
  std::nth_element(candidates.begin(), candidates.begin() + place, candidates.end());
  float median;
  memcpy(&median, &candidates[static_cast<std::size_t>(place)], sizeof median);
  return median;
}

/// Of the finite ones of `values`; 0 where there is none. Interleaved sums, so that none waits for the one before.
float finite_mean(const float* values, std::int64_t size) {
  constexpr int kLanes = 32;
  double sums[kLanes] = {};
  std::int32_t finite[kLanes] = {};
  const auto add = [&](std::int64_t first, int lanes) {
#pragma omp simd
    for (int lane = 0; lane < lanes; ++lane) {
      const float value = values[first + lane];
      const bool counts = value < INFINITY;
      sums[lane] += static_cast<double>(counts ? value : 0.0f);
      finite[lane] += counts;
    }
  };
  std::int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) add(i, kLanes);
  add(i, static_cast<int>(size - i));
  const double sum = std::accumulate(sums, sums + kLanes, 0.0);
  const auto count = std::accumulate(finite, finite + kLanes, std::int64_t{0});
  return count > 0 ? static_cast<float>(sum / static_cast<double>(count)) : 0;
}

/// One view; `distances` holds its pixels. Nested in a parallel loop over views, the loops here stay with their thread.
void mask_view(const PointmapDynamicMask& op, std::int64_t view, float* DPM_RESTRICT distances) {
  const std::int64_t pixels = op.pixels();
  const float* DPM_RESTRICT moved = op.moved.data + 3 * view * pixels;
  const float* DPM_RESTRICT points = op.points.data + 3 * view * pixels;
  std::uint8_t* DPM_RESTRICT mask = op.mask.data + view * pixels;
#pragma omp parallel for simd schedule(static) if (pixels > 1 << 14)
  for (std::int64_t i = 0; i < pixels; ++i) distances[i] = distance(moved + 3 * i, points + 3 * i);

  const bool median = op.statistic == Statistic::kMedian;
  const float typical = median ? lower_median(distances, pixels) : finite_mean(distances, pixels);
  const float threshold = std::max(op.factor * typical, op.floor);
#pragma omp parallel for simd schedule(static) if (pixels > 1 << 14)
  for (std::int64_t i = 0; i < pixels; ++i) mask[i] = (distances[i] > threshold) & (distances[i] < INFINITY);
}

}  // namespace

void pointmap_dynamic_mask(const PointmapDynamicMask& op) {
  // A view's distances stay in the cache of the thread that needs them again.
#pragma omp parallel if (op.views() > 1 && op.views() * op.pixels() > 1 << 14)
  {
    std::vector<float> distances(static_cast<std::size_t>(op.pixels()));
#pragma omp for schedule(dynamic)
    for (std::int64_t view = 0; view < op.views(); ++view) mask_view(op, view, distances.data());
  }
}

}  // namespace dpm::cpu
