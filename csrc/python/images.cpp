// SPDX-License-Identifier: Apache-2.0
#include "bindings.h"
#include "resample.h"

namespace dpm::python {
namespace {

Images images_view(Capsule capsule, bool bgr) {
  const DLTensor& t = tensor(capsule);
  return {data<const std::uint8_t>(t),           t.shape[0], t.shape[1], t.shape[2], t.strides[0], t.strides[1],
          static_cast<std::int32_t>(t.shape[3]), bgr};
}

Taps taps_view(Capsule first, Capsule count, Capsule weights) {
  return {view<const std::int32_t, 1>(first), view<const std::int32_t, 1>(count), view<const std::int32_t, 2>(weights)};
}

using Triple = std::array<float, 3>;

template <class Out>
ResizeColumns<Out> resize_columns(Capsule planes, const Taps& taps, std::array<std::int64_t, 2> corner,
                                  const Triple& mean, const Triple& std, float pad, Capsule box) {
  return {view<const std::uint8_t, 4>(planes),
          taps,
          corner[0],
          corner[1],
          {mean[0], mean[1], mean[2]},
          {std[0], std[1], std[2]},
          pad,
          view<Out, 4>(box)};
}

}  // namespace

void bind_images(pybind11::module_& m) {
  m.def("resample_taps", &resample_taps);

  m.def("prepare_images", [](Capsule images, bool bgr, Capsule column_first, Capsule column_count,
                             Capsule column_weights, std::int64_t first_row, Capsule row_first, Capsule row_count,
                             Capsule row_weights, std::array<std::int64_t, 2> corner, const Triple& mean,
                             const Triple& std, float pad, Capsule planes, Capsule box, Stream stream) {
    const ResizeRows rows{images_view(images, bgr), taps_view(column_first, column_count, column_weights), first_row,
                          view<std::uint8_t, 4>(planes)};
    const Device device(images, stream);
    run(rows, device, DPM_LAUNCHERS(resize_rows));
    const Taps taps = taps_view(row_first, row_count, row_weights);
    if (tensor(box).dtype.bits == 16) {
      const auto columns = resize_columns<Half>(planes, taps, corner, mean, std, pad, box);
      run<ResizeColumns<Half>, void>(columns, device, DPM_LAUNCHERS(resize_columns));
    } else {
      const auto columns = resize_columns<float>(planes, taps, corner, mean, std, pad, box);
      run<ResizeColumns<float>, void>(columns, device, DPM_LAUNCHERS(resize_columns));
    }
  });
}

}  // namespace dpm::python
