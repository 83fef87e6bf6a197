# SPDX-License-Identifier: Apache-2.0
"""What is done with a plan in memory, with `fake_tensorrt` in place of the library; tests/gpu does it on a GPU."""

import fake_tensorrt
import pytest
import torch

from dpm_core.engines.tensorrt_run import Plan
from dpm_core.errors import DpmError

INPUTS = {"a": ((2, 3), "FLOAT"), "b": ((4,), "INT64")}
OUTPUTS = {"once": ((2, 2), "FLOAT"), "twice": ((3,), "HALF")}
CPU = torch.device("cpu")


def load(name="tensorrt", shared=None, content=None, **says):
    stream = fake_tensorrt.FakeStream()
    content = content or fake_tensorrt.plan(INPUTS, OUTPUTS, **says)
    return Plan(fake_tensorrt.library(name), content, stream, CPU, shared), stream


def given(a=1.0, b=2):
    return {"a": torch.full((2, 3), a), "b": torch.full((4,), b)}


def test_a_plan_reads_and_writes_its_own_buffers():
    plan, _ = load()
    outputs = plan.run(given())
    torch.testing.assert_close(outputs["once"], torch.full((2, 2), 14.0))
    torch.testing.assert_close(outputs["twice"], torch.full((3,), 28.0, dtype=torch.float16))
    assert outputs["once"] is plan.outputs["once"]


def test_buffers_stay_where_they_are_and_take_new_numbers():
    plan, _ = load()
    before = {name: buffer.data_ptr() for name, buffer in {**plan.inputs, **plan.outputs}.items()}
    for value in (1.0, 5.0, -2.0):
        assert plan.run(given(a=value))["once"][0, 0] == 6 * value + 8
    assert {name: buffer.data_ptr() for name, buffer in {**plan.inputs, **plan.outputs}.items()} == before


def test_the_first_run_is_queued_and_later_ones_are_replayed():
    plan, stream = load()
    plan.run(given())
    assert (stream.recorded, stream.replayed) == (1, 0)
    plan.run(given(a=3.0))
    plan.run(given(a=4.0))
    assert (stream.recorded, stream.replayed, stream.ordered) == (1, 2, 3)
    assert plan.outputs["once"][0, 0] == 32


def test_tensorrt_rtx_is_recorded_only_where_it_says_that_it_can():
    for says, recorded in (({}, 1), ({"not_recordable": True}, 0)):
        plan, stream = load("tensorrt_rtx", **says)
        for _ in range(3):
            plan.run(given())
        assert stream.recorded == recorded
        assert plan.outputs["once"][0, 0] == 14


def test_a_shared_buffer_is_not_copied():
    upstream, _ = load()
    content = fake_tensorrt.plan({"once": ((2, 2), "FLOAT")}, {"sum": ((1,), "FLOAT")})
    downstream, _ = load(shared=upstream.outputs, content=content)
    assert downstream.inputs["once"] is upstream.outputs["once"]
    assert downstream.run({"once": upstream.run(given())["once"]})["sum"] == 4 * 14


def test_a_buffer_of_the_same_name_and_another_shape_or_type_is_not_shared():
    for other in (torch.zeros(2, 3, dtype=torch.float64), torch.zeros(5, 2, 3)):
        plan, _ = load(shared={"a": other})
        assert plan.run(given())["once"][0, 0] == 14


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"a": torch.zeros(2, 3)}, r"inputs are \['a'\], the plan takes \['a', 'b'\]"),
        ({**given(), "c": torch.zeros(1)}, "the plan takes"),
        ({**given(), "a": torch.zeros(3, 2)}, r"'a' is torch.float32 \[3, 2\], the plan takes torch.float32 \[2, 3\]"),
        ({**given(), "a": torch.zeros(2, 3, dtype=torch.bfloat16)}, "'a' is torch.bfloat16"),
    ],
)
def test_inputs_that_are_not_the_plans_are_refused(inputs, message):
    plan, _ = load()
    with pytest.raises(ValueError, match=message):
        plan.run(inputs)


def test_a_plan_that_the_library_refuses():
    with pytest.raises(DpmError, match=r"tensorrt 10.13.3 refuses the plan: .*magic tag does not match"):
        load(content=b"\0" * 100)


def test_no_device_memory_for_a_plan():
    with pytest.raises(MemoryError, match="no device memory for the plan, which works in 3 MiB"):
        load(no_memory=True)


def test_a_run_that_fails_says_why():
    plan, _ = load(fails=True)
    with pytest.raises(RuntimeError, match="could not run the plan: an illegal memory access"):
        plan.run(given())
