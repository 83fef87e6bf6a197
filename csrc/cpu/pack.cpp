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

  // Each thread packs one range of blocks, and must know how many points those before it keep. Of the last range
  // nobody needs to know: it is not counted.
  const std::int64_t ranges = threads_for(size), range = (blocks + ranges - 1) / ranges;
  std::vector<std::int64_t> first(static_cast<std::size_t>(ranges + 1));  // point that each range writes first
  std::int64_t written = 0;
#pragma omp parallel num_threads(static_cast<int>(ranges)) if (ranges > 1)
  {
#pragma omp for schedule(static)
    for (std::int64_t block = 0; block < std::min(blocks, (ranges - 1) * range); ++block) {
      const std::int64_t kept = count_kept(op, block * kBlock, end(block));
      std::int64_t& sum = first[block / range + 1];
#pragma omp atomic
      sum += kept;
    }
#pragma omp single
    for (std::int64_t r = 0; r < ranges; ++r) first[r + 1] += first[r];
#pragma omp for schedule(static, 1) reduction(+ : written)
    for (std::int64_t r = 0; r < ranges; ++r) {
      std::uint8_t* const begin = op.bytes.data + first[r] * step;
      std::uint8_t* out = begin;
      for (std::int64_t block = r * range; block < std::min(blocks, (r + 1) * range); ++block) {
        out = pack(op, block * kBlock, end(block), out);
      }
      written += (out - begin) / step;
    }
  }
  return written;
}

}  // namespace dpm::cpu
