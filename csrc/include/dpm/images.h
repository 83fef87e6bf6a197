// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dpm/array.h"
#include "dpm/half.h"

namespace dpm {

/// Camera images as they come: pixels of one to four bytes side by side, rows and frames any number of bytes apart.
struct Images {
  const std::uint8_t* data;
  std::int64_t frames, height, width;
  std::int64_t frame_stride, row_stride;  // bytes
  std::int32_t channels;                  // bytes a pixel: 1, 3 or 4 (the fourth is opacity)
  bool bgr;                               // blue comes first

  DPM_HD const std::uint8_t* row(std::int64_t frame, std::int64_t y) const {
    return data + frame * frame_stride + y * row_stride;
  }
};

/// One axis of a separable resampling: output i is the sum of weights[i, j] * input[first[i] + j], j < count[i].
struct Taps {
  Array<const std::int32_t, 1> first;
  Array<const std::int32_t, 1> count;
  Array<const std::int32_t, 2> weights;  // [outputs, most taps] fixed point, zero beyond count

  static constexpr int kBits = 22;  // 8 bits of colour, 2 of overshoot and 22 of weight fill 32
};

/// A resampled channel back in 8 bits, rounded half up.
DPM_HD std::uint8_t color_from_sum(std::int32_t sum) {
  const std::int32_t value = (sum + (1 << (Taps::kBits - 1))) >> Taps::kBits;
  return static_cast<std::uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
}

/// A colour laid over white, rounded to nearest.
DPM_HD std::uint8_t over_white(std::int32_t color, std::int32_t opacity) {
  return static_cast<std::uint8_t>((color * opacity + 255 * (255 - opacity) + 127) / 255);
}

/// A pixel of any encoding as red, green, blue.
struct Rgb {
  std::uint8_t channel[3];

  DPM_HD static Rgb load(const std::uint8_t* pixel, std::int32_t channels, bool bgr) {
    Rgb color;
    for (int c = 0; c < 3; ++c) {
      const std::uint8_t value = pixel[channels == 1 ? 0 : bgr ? 2 - c : c];
      color.channel[c] = channels == 4 ? over_white(value, pixel[3]) : value;
    }
    return color;
  }
};

/// First pass of the resize: every needed source row at its output width, in planes of red, green and blue.
struct ResizeRows {
  Images images;
  Taps taps;                      // of the output columns
  std::int64_t first_row;         // of the source that the second pass needs
  Array<std::uint8_t, 4> planes;  // [S, 3, needed rows, output columns] out

  DPM_HD std::int64_t rows() const { return planes.shape[0] * planes.shape[2]; }
  DPM_HD std::int64_t columns() const { return planes.shape[3]; }

  struct Row {
    const std::uint8_t* DPM_RESTRICT source;
    std::uint8_t* DPM_RESTRICT plane;
    std::int64_t plane_size;
    const Taps taps;
    std::int32_t channels;
    bool bgr;

    DPM_HD void operator()(std::int64_t x) const {
      const std::int32_t* DPM_RESTRICT weight = taps.weights.data + x * taps.weights.shape[1];
      const std::uint8_t* DPM_RESTRICT pixel = source + std::int64_t{taps.first.data[x]} * channels;
      const int count = taps.count.data[x];
      std::int32_t sum[3] = {0, 0, 0};
      for (int tap = 0; tap < count; ++tap, pixel += channels) {
        const Rgb color = Rgb::load(pixel, channels, bgr);
        for (int c = 0; c < 3; ++c) sum[c] += weight[tap] * color.channel[c];
      }
      for (int c = 0; c < 3; ++c) plane[c * plane_size + x] = color_from_sum(sum[c]);
    }
  };

  DPM_HD Row row(std::int64_t r) const {
    const std::int64_t needed = planes.shape[2], s = r / needed, y = r % needed, size = needed * columns();
    return {images.row(s, first_row + y),
            planes.data + 3 * s * size + y * columns(),
            size,
            taps,
            images.channels,
            images.bgr};
  }
};

/// Second pass: the kept box of the resized image, normalised: (value / 255 - mean) / std; `pad` for value / 255
/// outside.
template <class Out>
struct ResizeColumns {
  Array<const std::uint8_t, 4> planes;  // [S, 3, needed rows, w]
  Taps taps;                            // of the h rows, counted in needed rows
  std::int64_t top, left;               // where the h rows and w columns lie in the box
  float mean[3], std[3], pad;
  Array<Out, 4> box;  // [S, 3, H, W] out

  DPM_HD std::int64_t rows() const { return box.shape[0] * 3 * box.shape[2]; }
  DPM_HD std::int64_t columns() const { return box.shape[3]; }

  struct Row {
    const std::uint8_t* DPM_RESTRICT plane;  // first row that this one is made of, first column of the box
    const std::int32_t* DPM_RESTRICT weights;
    Out* DPM_RESTRICT out;
    std::int64_t left, right, stride;  // columns [left, right) come from the image
    std::int32_t count;
    float mean, std, pad;

    DPM_HD void operator()(std::int64_t x) const {
      if (x < left || x >= right) return write_pad(x);
      std::int32_t sum = 0;
      for (int tap = 0; tap < count; ++tap) sum += weights[tap] * plane[tap * stride + x];
      write(x, sum);
    }
    DPM_HD void write(std::int64_t x, std::int32_t sum) const {
      store(out + x, (static_cast<float>(color_from_sum(sum)) / 255.0f - mean) / std);
    }
    DPM_HD void write_pad(std::int64_t x) const { store(out + x, (pad - mean) / std); }
  };

  DPM_HD Row row(std::int64_t r) const {
    const std::int64_t plane = r / box.shape[2], y = r % box.shape[2] - top, c = plane % 3;
    const std::int64_t needed = planes.shape[2], width = planes.shape[3];
    const bool inside = y >= 0 && y < taps.first.shape[0];
    Row row{planes.data - left,
            taps.weights.data,
            box.data + r * columns(),
            left,
            inside ? left + width : left,
            width,
            0,
            mean[c],
            std[c],
            pad};
    if (inside) {
      row.plane += (plane * needed + taps.first.data[y]) * width;
      row.weights += y * taps.weights.shape[1];
      row.count = taps.count.data[y];
    }
    return row;
  }
};

}  // namespace dpm
