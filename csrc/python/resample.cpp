// SPDX-License-Identifier: Apache-2.0
#include "resample.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "dlpack_array.h"
#include "dpm/images.h"

namespace dpm::python {
namespace {

/// Keys' cubic with a = -1/2, which reaches two inputs far.
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((x - 5) * x + 8) * x * a - 4 * a : 0;
}

/// The windowed sinc, which reaches three inputs far.
double lanczos3(double x) {
  const auto sinc = [](double t) { return t == 0 ? 1 : std::sin(M_PI * t) / (M_PI * t); };
  return std::abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0;
}

}  // namespace

void resample_taps(std::int64_t inputs, std::int64_t outputs, std::int64_t begin, bool lanczos,
                   const pybind11::capsule& first, const pybind11::capsule& count, const pybind11::capsule& weights) {
  const auto firsts = view<std::int32_t, 1>(first), counts = view<std::int32_t, 1>(count);
  const auto rows = view<std::int32_t, 2>(weights);
  const double scale = static_cast<double>(inputs) / static_cast<double>(outputs);
  const double stretch = std::max(scale, 1.0);  // antialiasing: the filter never spans less than one output
  const double reach = (lanczos ? 3.0 : 2.0) * stretch;
  std::vector<double> taps;
  for (std::int64_t row = 0; row < firsts.shape[0]; ++row) {
    const double center = (static_cast<double>(begin + row) + 0.5) * scale;
    const auto from = std::max<std::int64_t>(static_cast<std::int64_t>(center - reach + 0.5), 0);
    const auto to = std::min<std::int64_t>(static_cast<std::int64_t>(center + reach + 0.5), inputs);
    taps.clear();
    double sum = 0;
    for (std::int64_t i = from; i < to; ++i) {
      const double x = (static_cast<double>(i) + 0.5 - center) / stretch;
      taps.push_back(lanczos ? lanczos3(x) : cubic(x));
      sum += taps.back();
    }
    firsts.data[row] = static_cast<std::int32_t>(from);
    counts.data[row] = static_cast<std::int32_t>(to - from);
    std::int32_t* out = rows.data + row * rows.shape[1];
    std::fill(out, out + rows.shape[1], 0);
    for (std::size_t i = 0; i < taps.size(); ++i) {
      out[i] = static_cast<std::int32_t>(std::lround(taps[i] / sum * (1 << Taps::kBits)));
    }
  }
}

}  // namespace dpm::python
