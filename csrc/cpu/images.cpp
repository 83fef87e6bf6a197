// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include "dpm/operations.h"

namespace dpm::cpu {
namespace {

/// Four source rows side by side, so that a weight is applied to the same pixel of all at once: 4 rows x (red, green,
/// blue, nothing) of 32 bits.
class FourRows {
 public:
  static constexpr std::int64_t kRows = 4;

  FourRows(std::int64_t width, std::int64_t taps) : pixels_(static_cast<std::size_t>(width + taps)), width_(width) {}

  void load(std::int64_t row, const std::uint8_t* source, std::int32_t channels, bool bgr) {
    std::int32_t* lanes = reinterpret_cast<std::int32_t*>(pixels_.data()) + 4 * row;
    for (std::int64_t x = 0; x < width_; ++x) {
      const Rgb color = Rgb::load(source + x * channels, channels, bgr);
      for (int c = 0; c < 3; ++c) lanes[16 * x + c] = color.channel[c];
    }
  }

  /// Output column x of row k, channel c at [4 * k + c]. The same number of taps everywhere, some of them of no weight,
  /// is quicker than a branch that cannot be foreseen; beyond the row there are zeros.
  void resize(const Taps& taps, std::int64_t x, std::uint8_t* out) const {
    const std::int64_t count = taps.weights.shape[1];
    const std::int32_t* weight = taps.weights.data + x * count;
    const Lanes* pixel = pixels_.data() + taps.first.data[x];
    Lanes sum = Lanes{} + (1 << (Taps::kBits - 1));
    for (std::int64_t tap = 0; tap < count; ++tap) sum += weight[tap] * pixel[tap];
    sum >>= Taps::kBits;
    sum = sum < 0 ? 0 : sum;
    sum = sum > 255 ? 255 : sum;
    const auto bytes = __builtin_convertvector(sum, Bytes);
    memcpy(out, &bytes, sizeof bytes);
  }

 private:
  using Lanes = std::int32_t __attribute__((vector_size(64)));
  using Bytes = std::uint8_t __attribute__((vector_size(16)));

  std::vector<Lanes> pixels_;
  std::int64_t width_;
};

/// The group-th four of the rows that one frame needs; fewer at its end.
void resize_group(const ResizeRows& op, std::int64_t group, FourRows& rows) {
  const std::int64_t needed = op.planes.shape[2], columns = op.columns(), groups = (needed + 3) / 4;
  const std::int64_t frame = group / groups, first = group % groups * FourRows::kRows;
  const std::int64_t count = std::min(FourRows::kRows, needed - first);
  for (std::int64_t k = 0; k < count; ++k) {
    rows.load(k, op.images.row(frame, op.first_row + first + k), op.images.channels, op.images.bgr);
  }
  std::uint8_t* plane = op.planes.data + 3 * frame * needed * columns + first * columns;
  for (std::int64_t x = 0; x < columns; ++x) {
    std::uint8_t color[4 * FourRows::kRows];
    rows.resize(op.taps, x, color);
    for (std::int64_t k = 0; k < count; ++k) {
      for (int c = 0; c < 3; ++c) plane[(c * needed + k) * columns + x] = color[4 * k + c];
    }
  }
}

/// Sums a block of columns tap by tap, so that vector lanes are columns.
template <class Row>
void resize_columns_row(const Row& row, std::int64_t columns) {
  constexpr std::int64_t kBlock = 128;
  for (std::int64_t x = 0; x < row.left; ++x) row.write_pad(x);
  for (std::int64_t first = row.left; first < row.right; first += kBlock) {
    const std::int64_t size = std::min(kBlock, row.right - first);
    std::int32_t sums[kBlock] = {};
    for (int tap = 0; tap < row.count; ++tap) {
      const std::uint8_t* values = row.plane + tap * row.stride + first;
      const std::int32_t weight = row.weights[tap];
#pragma omp simd
      for (std::int64_t k = 0; k < size; ++k) sums[k] += weight * values[k];
    }
#pragma omp simd
    for (std::int64_t k = 0; k < size; ++k) row.write(first + k, sums[k]);
  }
  for (std::int64_t x = row.right; x < columns; ++x) row.write_pad(x);
}

template <class Out>
void resize_columns_of(const ResizeColumns<Out>& op) {
  const std::int64_t rows = op.rows(), columns = op.columns();
#pragma omp parallel for schedule(static) if (rows * columns > 1 << 14)
  for (std::int64_t r = 0; r < rows; ++r) resize_columns_row(op.row(r), columns);
}

}  // namespace

void resize_rows(const ResizeRows& op) {
  if (op.planes.shape[2] == 0) return;
  const std::int64_t groups = op.planes.shape[0] * ((op.planes.shape[2] + 3) / 4);
#pragma omp parallel if (op.rows() * op.columns() > 1 << 14)
  {
    FourRows rows(op.images.width, op.taps.weights.shape[1]);
#pragma omp for schedule(static)
    for (std::int64_t group = 0; group < groups; ++group) resize_group(op, group, rows);
  }
}

void resize_columns(const ResizeColumns<float>& op) { resize_columns_of(op); }
void resize_columns(const ResizeColumns<Half>& op) { resize_columns_of(op); }

}  // namespace dpm::cpu
