# SPDX-License-Identifier: Apache-2.0
"""The benchmarks measure what they say, on a network small enough for tests. No time is judged."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from dpm_core.cli import main
from dpm_core.cli.bench_overlap import digest
from dpm_core.cli.bench_scale import grown
from dpm_core.cli.bench_soak import measure as soak
from dpm_core.cli.bench_soak import settled
from dpm_core.cli.bench_stream import LISTENERS, PLAIN, TOLERANCE, Plain, difference
from dpm_core.cli.measuring import AtSize, size_of, some_frames, torch_engine
from dpm_core.engines import torch_bf16
from dpm_core.errors import DpmError
from dpm_core.stream import Session
from dpm_core.stream.lanes import ALL_BESIDE, ONE_AFTER_ANOTHER

SMALL = ["--size", "28x42", "--device", "cpu", "--threads", "1"]
SIZE = (28, 42)


@pytest.fixture(scope="module")
def engine():
    return AtSize(torch_engine("vdpm-mini", torch.device("cpu"), random_weights=False), SIZE)


def told(tmp_path, *arguments):
    assert main(["bench", *arguments, *SMALL, "--json", str(tmp_path / "figures.json")]) == 0
    return json.loads((tmp_path / "figures.json").read_text())


def test_stream_tells_every_way_and_that_they_agree(tmp_path, capsys):
    figures = told(tmp_path, "stream", "--window", "3", "--repeats", "2")
    ways = {way["name"]: way for way in figures["paths"]}
    assert set(ways) == {*LISTENERS, PLAIN}
    for way in ways.values():
        assert 0 <= way["difference"] <= TOLERANCE
        assert way["estimates_per_second"] == pytest.approx(1 / way["seconds"]["total"])
        assert {"encode", "predict", "align", "motion", "fuse"} <= set(way["seconds"])
    assert ways[PLAIN]["ratio"] == 1
    said = capsys.readouterr().out
    assert all(name.split()[-1] in said for name in ways)


def test_stream_tells_the_best_engine_of_an_export_beside(tmp_path):
    folder, shape = tmp_path / "exported", ["--window", "2", "--size", "28x42"]
    assert main(["export", "vdpm-mini", *shape, "--out", str(folder)]) == 0
    figures = told(tmp_path, "stream", "--window", "2", "--repeats", "1", "--exported", str(folder))
    ways = {way["name"]: way["difference"] for way in figures["paths"]}
    assert set(ways) == {*LISTENERS, *(f"{name}, exported" for name in LISTENERS), PLAIN}
    assert max(ways.values()) <= TOLERANCE


def test_stream_tells_a_narrow_engine_beside_and_does_not_judge_its_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_bf16, "bfloat16_units", lambda: "AMX")
    figures = told(tmp_path, "stream", "--window", "2", "--repeats", "1", "--backend", "torch-bf16")
    ways = {way["name"]: way for way in figures["paths"]}
    narrow = [ways[f"{name}, torch-bf16"] for name in LISTENERS]
    assert not any(way["exact"] for way in narrow)
    assert max(way["difference"] for way in narrow) > 1e-5
    assert all(ways[name]["exact"] for name in (*LISTENERS, PLAIN))


def test_the_plain_way_uses_nothing_of_earlier_windows(engine):
    encoded = []
    engine_encode = engine.encode

    class Counting(AtSize):
        def encode(self, image):
            encoded.append(image)
            return engine_encode(image)

    plain = Plain(Counting(engine, SIZE))
    images = [torch.rand(3, *SIZE) for _ in range(4)]
    with torch.inference_mode():
        for window in (images[:3], images[1:]):
            got = plain.predict([plain.encode(image) for image in window], SIZE, (2, 0))
    assert len(encoded) == 6
    with torch.inference_mode():
        live = engine.predict([engine.encode(image) for image in images[1:]], SIZE, (2, 0))
    assert difference(live, got) <= TOLERANCE


def test_a_difference_is_seen(engine):
    with torch.inference_mode():
        tokens = [engine.encode(torch.rand(3, *SIZE)) for _ in range(2)]
        some, other = engine.predict(tokens, SIZE, (1,)), engine.predict(tokens, SIZE, (1, 0))
        assert difference(some, other) <= TOLERANCE
        some.points[0, 1, 3, 4, 0] += 0.5
        assert difference(some, other) > 0.1


def test_scale_tells_every_amount(tmp_path):
    asked = ["--window", "3", "--times", "1", "3", "--frames", "1", "2", "--sizes", "28x42", "14x14", "--repeats", "1"]
    growths = {growth["of"]: growth["seconds"] for growth in told(tmp_path, "scale", *asked)["growths"]}
    assert {of: list(seconds) for of, seconds in growths.items()} == {
        "asked times": ["1", "3"],
        "frames": ["1", "2"],
        "pixels": ["196", "1176"],
    }


def test_growth_is_read_off_the_medians():
    linear = grown("asked times", {1: 3.0, 2: 5.0, 4: 9.0})
    assert linear.off_line == pytest.approx(0, abs=1e-9)
    square = grown("frames", {2: 4.0, 4: 16.0, 8: 64.0})
    assert square.exponent == pytest.approx(2)
    assert square.off_line > 0.05


def test_overlap_tells_every_way_and_that_they_agree(tmp_path):
    ways = told(tmp_path, "overlap", "--window", "2", "--frames", "2", "--rounds", "1")["ways"]
    assert [way["name"] for way in ways] == ["one after another", "map beside", "all beside"]
    assert ways[0]["ratio"] == 1
    assert sum(way["chosen"] for way in ways) == 1
    assert all(way["same"] and min(way["seconds"], way["latency"]) > 0 for way in ways)


def test_what_two_estimates_say_differently_is_seen(engine):
    one, other = map(Session(engine).process, some_frames(None, SIZE, 2))
    assert digest(one) == digest(replace(one, seconds={}))
    assert digest(one) != digest(other)
    assert digest(one) != digest(replace(one, cloud=other.cloud))


@pytest.mark.parametrize("lanes", [ONE_AFTER_ANOTHER, ALL_BESIDE], ids=["one after another", "overlapped"])
def test_memory_stays_over_windows(engine, lanes):
    figure = soak(engine, SIZE, window=3, windows=60, lanes=lanes)
    assert figure.growth_bytes_per_window < 16384, figure  # one window's maps are ten times that


def test_a_leak_is_seen():
    leaking = settled({10 * n: 10**8 + 10**6 * n for n in range(1, 51)})
    assert leaking.growth_bytes_per_window == pytest.approx(1e5)
    assert leaking.rise > 0.1
    assert settled(dict.fromkeys(range(1, 51), 10**8)).growth_bytes_per_window == pytest.approx(0, abs=1e-3)


def test_frames_move_and_are_the_same_every_time():
    first, again = (some_frames(None, SIZE, 3) for _ in range(2))
    np.testing.assert_array_equal(first[2].image, again[2].image)
    assert (first[0].image != first[1].image).any()
    assert size_of("168x224") == (168, 224)


@pytest.mark.parametrize(
    "wrong",
    [
        ["stream", "--size", "30x42"],
        ["stream", "--size", "large"],
        ["stream", "--repeats", "0"],
        ["stream", "--device", "tpu"],
        ["stream", "--recording", "nowhere.mp4"],
        ["stream", "--backend", "torch-bf16", "--random-weights"],
        ["scale", "--window", "2", "--times", "3"],
        ["overlap", "--rounds", "0"],
        ["soak", "--windows", "1"],
        ["engines", "--window", "0"],
    ],
)
def test_says_what_is_wrong(wrong, capsys):
    assert main(["bench", *wrong]) == 2
    assert capsys.readouterr().err.startswith("dpm: ")


def test_a_recording_must_be_long_enough(tmp_path):
    import cv2

    for index in range(2):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.zeros((28, 42, 3), np.uint8))
    with pytest.raises(DpmError, match="has 2 frames; this measurement needs 5"):
        some_frames(tmp_path, SIZE, 5)
