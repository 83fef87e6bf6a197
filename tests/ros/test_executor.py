# SPDX-License-Identifier: Apache-2.0
"""What the executor does where a callback raises, with no other process."""

import pytest
import rclpy
from dpm_ros.executor import SturdyExecutor
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node


@pytest.fixture
def node():
    context = Context()
    rclpy.init(context=context)
    node = Node("sturdy", context=context, enable_rosout=False, start_parameter_services=False)
    yield node
    node.destroy_node()
    context.try_shutdown()


@pytest.fixture
def reported():
    return []


@pytest.fixture
def executor(node, reported):
    executor = SturdyExecutor(reported.append, context=node.context)
    executor.add_node(node)
    yield executor
    executor.shutdown()


def call(node, executor, callback):
    """Have the executor call it."""
    guard = node.create_guard_condition(callback)
    guard.trigger()
    executor.spin_once(timeout_sec=10.0)
    node.destroy_guard_condition(guard)


def failing(error):
    def callback():
        raise error

    return callback


def test_what_a_callback_raises_is_reported_and_the_next_one_is_called(node, executor, reported):
    called = []
    call(node, executor, failing(ValueError("10 is not a valid type")))
    call(node, executor, lambda: called.append("next"))
    assert called == ["next"]
    assert reported == ["ValueError: 10 is not a valid type"]


def test_what_fails_beside_the_callbacks_is_raised(executor, reported, monkeypatch):
    monkeypatch.setattr(executor, "_wait_for_ready_callbacks", lambda *_, **__: failing(RuntimeError("no wait set"))())
    with pytest.raises(RuntimeError, match="no wait set"):
        executor.spin_once(timeout_sec=1.0)
    assert reported == []


def test_it_ends_with_its_context(node, executor, reported):
    node.context.shutdown()
    with pytest.raises((ExternalShutdownException, RuntimeError)):  # which, is a matter of when
        executor.spin_once()
    assert reported == []


def test_a_user_who_interrupts_is_heard(node, executor, reported):
    with pytest.raises(KeyboardInterrupt):
        call(node, executor, failing(KeyboardInterrupt()))
    assert reported == []
