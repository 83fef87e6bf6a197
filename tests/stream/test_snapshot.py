# SPDX-License-Identifier: Apache-2.0
"""What a session remembers, in a file and back: exact to the bit, and nothing of the file is executed."""

import json
import threading
from collections import Counter, deque
from dataclasses import dataclass
from enum import Enum

import numpy as np
import oracle
import pytest
import torch
from safetensors.torch import save_file

from dpm_core.errors import DpmError
from dpm_core.stream import Session
from dpm_core.stream.snapshot import read_snapshot, write_snapshot
from dpm_core.stream.window import Break, Seen

HERE = (__name__.split(".")[0], "dpm_core")


class Memory:
    """Anything with attributes."""


class Steady(oracle.OracleEngine):
    """Its unit hangs on the frames it sees, not on how many windows it has had."""

    def unit(self, window):
        return super().unit(self.windows[window][-1])


@dataclass(frozen=True)
class Pair:
    left: object
    right: object


class Colour(Enum):
    RED = 1


def there_and_back(path, value):
    before, after = Memory(), Memory()
    before.value = value
    write_snapshot(path / "memory", {"it": before})
    read_snapshot(path / "memory", {"it": after}, HERE)
    return after.value


PLAIN = [
    *(None, True, 7, -(2**63), 0.1, float("inf"), "wörd"),
    *([1, [2.5]], (1, (2,)), {1, 2}, {3: "a", "b": None}, Counter(a=2)),
    *(Pair(1, "x"), Colour.RED, Break.GAP, torch.device("cpu"), {(1, 2): [Pair(None, ())]}),
]


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_values_come_back_as_they_were(tmp_path, value):
    back = there_and_back(tmp_path, value)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.uint8, torch.int64, torch.bool])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3, 4)])
def test_tensors_come_back_to_the_bit(tmp_path, dtype, shape):
    tensor = (100 * torch.randn(shape, dtype=torch.float64)).to(dtype)
    back = there_and_back(tmp_path, tensor)
    assert back.dtype == dtype
    assert torch.equal(back, tensor)


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_the_order_of_axes_in_memory_is_kept(tmp_path, axes):
    tensor = torch.randn(2, 3, 4).permute(axes)
    back = there_and_back(tmp_path, tensor)
    assert torch.equal(back, tensor)
    assert back.stride() == tensor.stride()
    array = there_and_back(tmp_path, np.asfortranarray(np.arange(12.0).reshape(3, 4)))
    assert array.flags.f_contiguous
    assert array.flags.writeable


def test_scalars_of_numpy_keep_their_type(tmp_path):
    back = there_and_back(tmp_path, np.float32(0.1))
    assert back == np.float32(0.1)
    assert type(back) is np.float32


def test_a_queue_keeps_its_length(tmp_path):
    back = there_and_back(tmp_path, deque([1, 2], maxlen=2))
    back.append(3)
    assert list(back) == [2, 3]


def test_what_was_shared_stays_shared(tmp_path):
    shared = [1]
    one, other = there_and_back(tmp_path, (shared, {"again": shared}))
    assert one is other["again"]


def test_locks_and_what_is_left_out_stay_those_of_the_new_object(tmp_path):
    before, after, lock = Memory(), Memory(), threading.Lock()
    before.lock, before.engine, before.number = threading.Lock(), "old", 1
    after.lock, after.engine, after.number = lock, "new", 2
    write_snapshot(tmp_path / "memory", {"it": before}, besides=("engine",))
    read_snapshot(tmp_path / "memory", {"it": after}, HERE)
    assert (after.lock, after.engine, after.number) == (lock, "new", 1)


@pytest.mark.parametrize("value", [lambda: 1, print, b"bytes", (n for n in ()), json], ids=repr)
def test_what_cannot_be_kept_is_an_error_at_once(tmp_path, value):
    with pytest.raises(TypeError, match="cannot be kept"):
        there_and_back(tmp_path, value)
    assert not list(tmp_path.iterdir())


def session_after(count):
    session = Session(Steady())
    return session, [session.process(oracle.frame(index)) for index in range(count)]


@pytest.mark.parametrize("done", [0, 1, 3, 6])
def test_a_session_goes_on_as_if_nothing_had_been(tmp_path, done):
    session, _ = session_after(done)
    write_snapshot(tmp_path / "memory", {"session": session}, besides=Session.NO_MEMORY)
    again = Session(Steady())
    read_snapshot(tmp_path / "memory", {"session": again})
    for index in range(done, done + 4):
        one, other = session.process(oracle.frame(index)), again.process(oracle.frame(index))
        np.testing.assert_array_equal(one.world_from_camera, other.world_from_camera)
        np.testing.assert_array_equal(one.scene_flow, other.scene_flow)
        for column in ("points", "colors", "confidence", "velocity", "dynamic"):
            np.testing.assert_array_equal(getattr(one.cloud, column), getattr(other.cloud, column))
            np.testing.assert_array_equal(getattr(one.static_map(), column), getattr(other.static_map(), column))


def refused(path, trusted=HERE):
    with pytest.raises(DpmError, match=r"is no snapshot that can be used .*; remove it and begin anew") as refusal:
        read_snapshot(path, {"it": Memory()}, trusted)
    assert "\n" not in str(refusal.value)


def forged(path, node):
    save_file({"0": torch.zeros(1)}, path, {"tree": json.dumps({"it": {"value": node}})})
    return path


FOREIGN = [
    ["object", "subprocess:Popen", {}, 0],
    ["object", "dpm_core.stream.window:__name__", {}, 0],
    ["object", "dpm_core.not_there:Thing", {}, 0],
    ["named tuple", "builtins:eval", ["1"], 0],
    ["tensor", ["9", [0]], "cpu", 0],
    ["unheard of", 1, 0],
    ["same", 5],
    [],
]


@pytest.mark.parametrize("node", FOREIGN, ids=json.dumps)
def test_a_forged_file_is_refused(tmp_path, node):
    refused(forged(tmp_path / "memory", node))


def test_a_damaged_file_is_refused_and_the_object_stays_as_it_was(tmp_path):
    session, _ = session_after(2)
    write_snapshot(tmp_path / "memory", {"it": session}, besides=Session.NO_MEMORY)
    whole = (tmp_path / "memory").read_bytes()
    for end in (0, 7, 100, len(whole) - 1):
        (tmp_path / "memory").write_bytes(whole[:end])
        refused(tmp_path / "memory")


def test_classes_of_other_packages_are_refused(tmp_path):
    before = Memory()
    before.value = Seen(1, torch.zeros(1), torch.zeros(1))
    write_snapshot(tmp_path / "memory", {"it": before})
    refused(tmp_path / "memory", trusted=("elsewhere",))
