# SPDX-License-Identifier: Apache-2.0
"""Every family's loader gives the pixels of the published one."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from golden_arrays import cases_with
from PIL import Image

from dpm_core.errors import DpmError
from dpm_core.geometry.fit import fit_dust3r, fit_width, widened
from dpm_core.geometry.preprocess import (
    DUST3R_224,
    DUST3R_512,
    VDPM_LOADER,
    VGGT_CROP,
    VGGT_PAD,
    fitted,
    load_image,
    load_square,
)

LOADERS = {
    "vggt_crop": VGGT_CROP,
    "vggt_pad": VGGT_PAD,
    "vdpm": VDPM_LOADER,
    "dust3r_512_square_ok": replace(DUST3R_512, fit=lambda height, width: fit_dust3r(height, width, square_ok=True)),
    "dust3r_512": DUST3R_512,
    "dust3r_224": DUST3R_224,
}
GREY_LEVEL = 1 / 255


def pytest_generate_tests(metafunc):
    cases_with(metafunc, "png_landscape")


def files(case):
    """name -> decoded pixels, EXIF orientation."""
    for array in case.config["inputs"]:
        with Image.open(io.BytesIO(case[array].numpy().tobytes())) as file:
            yield array.removeprefix("png_"), np.asarray(file), file.getexif().get(0x0112, 1)


def expect(case, name, image):
    """The kept pixels to a grey level, the whole image's statistics to a tenth of one."""
    image, stride = image.numpy(), case.settings["stride"]
    level = GREY_LEVEL
    if name.startswith("dust3r"):
        image, level = 2 * image - 1, 2 * GREY_LEVEL
    if name in case.settings["results"]:
        whole = case.settings["results"][name]
        assert list(image.shape) == whole["full_shape"], name
        assert image.mean() == pytest.approx(whole["mean"], abs=level / 10)
        assert image.std() == pytest.approx(whole["std"], abs=level / 10)
    np.testing.assert_allclose(image[:, ::stride, ::stride], case[name], atol=level, err_msg=name)


def test_loaders(case):
    for image, pixels, orientation in files(case):
        for rule, loader in LOADERS.items():
            if f"{rule}_{image}" in case:
                expect(case, f"{rule}_{image}", load_image(pixels, loader, orientation))


def test_what_vdpm_refuses_is_refused(case):
    refused = [name for name, result in case.settings["results"].items() if isinstance(result, str)]
    for name in refused:
        pixels = next(pixels for image, pixels, _ in files(case) if name == f"vdpm_{image}")
        with pytest.raises(DpmError, match="portrait"):
            load_image(pixels, VDPM_LOADER)


def test_square_loader(case):
    for image, pixels, _ in files(case):
        if f"vggt_square_{image}" in case:
            square, box = load_square(pixels)
            expect(case, f"vggt_square_{image}", square)
            np.testing.assert_allclose(box, case[f"vggt_square_{image}_coords"], atol=1e-3)


def test_batch_of_several_sizes(case):
    by_name = {image: pixels for image, pixels, _ in files(case)}
    batch = [by_name[name] for name in ("landscape", "wide", "tiny")]
    fits = [fit_width(*pixels.shape[:2]) for pixels in batch]
    largest = tuple(max(fit.size[axis] for fit in fits) for axis in (0, 1))
    for index, (pixels, fit) in enumerate(zip(batch, fits, strict=True)):
        image = fitted(torch.from_numpy(pixels.copy())[None], widened(fit, largest))[0]
        expect(case, f"vggt_batch_{index}", image)
