# SPDX-License-Identifier: Apache-2.0
import array
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dpm_core.kernels import cloud_layout, pack_cloud

NAMES = ("colors", "confidence", "velocity", "dynamic")
TYPES = {2: "u1", 7: "<f4"}


def cloud(seed, size):
    random = np.random.default_rng(seed)
    points = random.normal(0, 5, (size, 3)).astype(np.float32)
    points[random.random((size, 3)) < 0.05] = np.nan
    points[random.random((size, 3)) < 0.02] = -np.inf
    extras = dict(
        colors=random.integers(0, 256, (size, 3), np.uint8),
        confidence=random.uniform(1, 5, size).astype(np.float32),
        velocity=random.normal(0, 1, (size, 3)).astype(np.float32),
        dynamic=random.random(size) < 0.5,
    )
    return points, extras


def reference(points, extras, organized):
    """A structured array, field by field."""
    layout = cloud_layout(**{name: name in extras for name in NAMES})
    kind = np.dtype(
        dict(
            names=[field.name for field in layout.fields],
            formats=[TYPES[field.datatype] for field in layout.fields],
            offsets=[field.offset for field in layout.fields],
            itemsize=layout.step,
        )
    )
    kept = np.full(len(points), True) if organized else np.isfinite(points).all(1)
    rows = np.zeros(kept.sum(), kind)
    rows["x"], rows["y"], rows["z"] = points[kept].T
    if "colors" in extras:
        red, green, blue = extras["colors"][kept].astype(np.uint32).T
        rows["rgb"] = (red << 16 | green << 8 | blue).view(np.float32)
    if "confidence" in extras:
        rows["confidence"] = extras["confidence"][kept]
    if "velocity" in extras:
        rows["vx"], rows["vy"], rows["vz"] = extras["velocity"][kept].T
    if "dynamic" in extras:
        rows["dynamic"] = extras["dynamic"][kept]
    return np.frombuffer(rows.tobytes(), np.uint8)


@pytest.mark.parametrize("names", [c for k in range(5) for c in itertools.combinations(NAMES, k)])
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(0, 200), organized=st.booleans())
def test_equals_the_structured_array(names, seed, size, organized):
    points, extras = cloud(seed, size)
    extras = {name: extras[name] for name in names}
    tensors = {name: torch.from_numpy(extra) for name, extra in extras.items()}
    packed = pack_cloud(torch.from_numpy(points), **tensors, organized=organized)
    np.testing.assert_array_equal(packed.numpy(), reference(points, extras, organized))


def test_many_points_are_no_different():
    points, extras = cloud(1, 50_000)
    packed = pack_cloud(torch.from_numpy(points), *map(torch.from_numpy, extras.values()))
    np.testing.assert_array_equal(packed.numpy(), reference(points, extras, organized=False))


def test_the_two_layouts_of_the_node():
    sixteen, thirty_two = cloud_layout(), cloud_layout(confidence=True, velocity=True)
    assert [tuple(field) for field in sixteen.fields] == [("x", 0, 7), ("y", 4, 7), ("z", 8, 7), ("rgb", 12, 7)]
    assert [field.name for field in thirty_two.fields] == ["x", "y", "z", "rgb", "confidence", "vx", "vy", "vz"]
    assert [field.offset for field in thirty_two.fields] == list(range(0, 32, 4))
    assert (sixteen.step, thirty_two.step) == (16, 32)


@pytest.mark.parametrize(
    "make", [lambda size: array.array("B", bytes(size)), bytearray, lambda n: np.zeros(n, np.uint8)]
)
def test_writes_into_the_buffer_of_a_message(make):
    points, extras = cloud(2, 100)
    tensors = torch.from_numpy(points), torch.from_numpy(extras["colors"])
    buffer = make(100 * 16 + 5)
    packed = pack_cloud(*tensors, out=buffer)
    assert bytes(buffer)[: len(packed)] == packed.numpy().tobytes() == pack_cloud(*tensors).numpy().tobytes()
    assert not any(bytes(buffer)[len(packed) :])


def test_says_when_the_buffer_is_too_small():
    with pytest.raises(ValueError, match=r"out must have 64 bytes \(4 points of 16\) or more, not 63"):
        pack_cloud(torch.zeros(4, 3), out=bytearray(63))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(points=torch.zeros(4, 2)), r"points must be \[N 3\], not \[4, 2\]"),
        (
            dict(colors=torch.zeros(3, 3, dtype=torch.uint8)),
            r"colors must be \[N 3\] \(N = 4 from points\), not \[3, 3\]",
        ),
        (dict(dynamic=torch.zeros(4, dtype=torch.uint8)), "dynamic must be torch.bool, not torch.uint8"),
        (dict(out=bytes(64)), "out must be writable"),
        (dict(out=torch.zeros(64)), "out must be torch.uint8, not torch.float32"),
        (dict(out=array.array("f", [0.0] * 16)), "out must be contiguous bytes"),
    ],
)
def test_says_what_is_wrong(change, message):
    with pytest.raises((TypeError, ValueError), match=message):
        pack_cloud(**(dict(points=torch.zeros(4, 3)) | change))
