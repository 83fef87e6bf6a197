// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>

#include "dpm/array.h"

namespace dpm {

/// IEEE 754 binary16, as bits.
struct Half {
  std::uint16_t bits;
};

/// Nearest half, ties to even.
DPM_HD Half half_from_float(float value) {
  std::uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  const std::uint32_t sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  std::uint32_t half;
  if (magnitude >= 0x47800000u) {  // 2^16 and above, infinity, NaN
    half = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  } else if (magnitude < 0x38800000u) {  // subnormal: adding 2^-1 · 2^(-14-10+24) lets the float unit do the rounding
    float shifted;
    memcpy(&shifted, &magnitude, sizeof shifted);
    shifted += 0.5f;
    memcpy(&half, &shifted, sizeof half);
    half -= 0x3f000000u;
  } else {
    half = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13;
  }
  return {static_cast<std::uint16_t>(sign | half)};
}

DPM_HD void store(float* out, float value) { *out = value; }
DPM_HD void store(Half* out, float value) { *out = half_from_float(value); }

}  // namespace dpm
