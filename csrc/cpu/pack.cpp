// SPDX-License-Identifier: Apache-2.0
#ifdef _OPENMP
#include <omp.h>
#endif

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "dpm/operations.h"

namespace dpm::cpu {
namespace {

constexpr std::int64_t kBlock = 1 << 12;

std::int64_t count_kept(const PackCloud& op, std::int64_t begin, std::int64_t end) {
  if (op.organized) return end - begin;
  const float* numbers = op.points.data;
  int holes = 0;
#pragma omp simd reduction(| : holes)
  for (std::int64_t k = 3 * begin; k < 3 * end; ++k) holes |= !(std::fabs(numbers[k]) < INFINITY);
  if (!holes) return end - begin;  // the usual case, and quick to tell
  std::int64_t kept = 0;
  for (std::int64_t i = begin; i < end; ++i) kept += op.keeps(i);
  return kept;
}

/// Writes the kept points of [begin, end) one after another from `out` on; returns where the next goes.
template <int LayoutIndex>
std::uint8_t* pack_block(const PackCloud& op, std::int64_t begin, std::int64_t end, std::uint8_t* out) {
  using Point = PackedPoint<LayoutIndex>;
  constexpr int step = Point::kLayout.step();
  const bool all = count_kept(op, begin, end) == end - begin;
  for (std::int64_t i = begin; i < end; ++i) {
    if (!all && !op.keeps(i)) continue;
    const Point point(op, i);
    for (int word = 0; word < Point::kLayout.words(); ++word) memcpy(out + 4 * word, point.words + word, 4);
    out += step;
  }
  return out;
}

using PackBlock = std::uint8_t* (*)(const PackCloud&, std::int64_t, std::int64_t, std::uint8_t*);

template <int... LayoutIndex>
constexpr std::array<PackBlock, sizeof...(LayoutIndex)> forms(std::integer_sequence<int, LayoutIndex...>) {
  return {pack_block<LayoutIndex>...};
}

int threads_for(std::int64_t size) {
#ifdef _OPENMP
  return size > 1 << 14 ? std::max(omp_get_max_threads(), 1) : 1;
#else
  (void)size;
  return 1;
#endif
}

}  // namespace

std::int64_t pack_cloud(const PackCloud& op) {
  const std::int64_t size = op.size(), step = op.layout.step(), blocks = (size + kBlock - 1) / kBlock;
  const PackBlock pack = forms(std::make_integer_sequence<int, 16>())[static_cast<std::size_t>(op.layout.index())];
  const auto end = [size](std::int64_t block) { return std::min(size, (block + 1) * kBlock); };

  // Each thread packs one range of blocks to where it lies if all points before it are kept, as they are in a fused
  // cloud. Where they are not, ranges are moved up afterwards: cheaper than to read every point twice beforehand.
  const std::int64_t ranges = threads_for(size), range = (blocks + ranges - 1) / ranges;
  const auto begin = [&](std::int64_t r) { return op.bytes.data + std::min(size, r * range * kBlock) * step; };
  std::vector<std::int64_t> packed(static_cast<std::size_t>(ranges));  // bytes of each range
#pragma omp parallel for num_threads(static_cast<int>(ranges)) schedule(static, 1) if (ranges > 1)
  for (std::int64_t r = 0; r < ranges; ++r) {
    std::uint8_t* out = begin(r);
    for (std::int64_t block = r * range; block < std::min(blocks, (r + 1) * range); ++block) {
      out = pack(op, block * kBlock, end(block), out);
    }
    packed[static_cast<std::size_t>(r)] = out - begin(r);
  }
  std::uint8_t* next = op.bytes.data;
  for (std::int64_t r = 0; r < ranges; ++r) {
    const std::int64_t bytes = packed[static_cast<std::size_t>(r)];
    if (next != begin(r)) memmove(next, begin(r), static_cast<std::size_t>(bytes));
    next += bytes;
  }
  return (next - op.bytes.data) / step;
}

}  // namespace dpm::cpu
