# SPDX-License-Identifier: Apache-2.0
"""The node `dpm`: a managed node that starts itself, a thin face over the live session that `dpm run` uses too.

One executor thread reads messages and answers services; the session's own threads infer and publish.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, JumpThreshold, TimeJump
from rclpy.clock_type import ClockType
from rclpy.duration import Duration
from rclpy.exceptions import ParameterException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter as RosParameter
from std_srvs.srv import Trigger

from dpm_core.engines import Engine, open_engine
from dpm_core.errors import DpmError
from dpm_core.stream import Fault, LiveSession, Session
from dpm_core.types import Estimate, Frame

from . import conversions, interface, parameters
from .diagnostics import Health, diagnostic_status
from .ending import told_to_end
from .executor import SturdyExecutor
from .faults import FaultLog
from .inputs import Inputs
from .publishing import EstimatePublisher, Frames
from .saving import save_map

EngineFactory = Callable[[str, "Path | None", str, str], Engine]


class DpmNode(LifecycleNode):
    """Images in, moving point clouds out.

    Args:
        engine_factory: makes the engine of (model, weights, device, backend).
        options: passed on to the node.
    """

    def __init__(self, engine_factory: EngineFactory = open_engine, **options: Any) -> None:
        super().__init__("dpm", **options)
        parameters.declare(self)
        self.failure: str | None = None
        self._engine_factory = engine_factory
        self._faults = FaultLog(self.get_logger().warning)
        self._engine: Engine | None = None
        self._live: LiveSession | None = None
        self._outputs: dict[str, Any] = {}
        self._publishing: EstimatePublisher | None = None
        self._inputs: Inputs | None = None
        self._rejected: Counter[str] = Counter()
        self._newest: Estimate | None = None
        self._health: Health | None = None
        self._diagnostics = self.create_publisher(
            DiagnosticArray, interface.DIAGNOSTICS.name, interface.DIAGNOSTICS.qos
        )
        # Steady, not the node's clock: with simulated time a paused bag must not stop diagnostics.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._tell_health, clock=steady)
        self.create_timer(1.0, self._tell_map, clock=steady)
        jumps = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
        self._jumps = self.get_clock().create_jump_callback(jumps, post_callback=self._on_clock_jump)
        self.create_service(Trigger, interface.RESET.name, self._reset)
        self.create_service(Trigger, interface.SAVE_MAP.name, self._save_map)
        self.add_on_set_parameters_callback(self._check_parameters)
        if hasattr(self, "add_post_set_parameters_callback"):  # Humble has none: thresholds are read at start there
            self.add_post_set_parameters_callback(self._use_parameters)

    # Lifecycle. rclpy swallows what these raise, so they say it themselves.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the network and make the publishers."""
        return self._transition("configure", lambda: self._configure(state))

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read images."""
        return self._transition("activate", lambda: self._activate(state))

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop reading images; the network stays loaded."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of the network."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and let go of everything."""
        self.close()
        return super().on_shutdown(state)

    def close(self) -> None:
        """End the worker and let go of the network; the node may be destroyed then."""
        self._stop()
        self._release()

    def on_failed_callback(self, why: str) -> None:
        """A callback raised, of this node or of rclpy; what it was called with is lost."""
        self._faults.report("callback", why)

    def _transition(self, name: str, act: Callable[[], TransitionCallbackReturn]) -> TransitionCallbackReturn:
        try:
            return act()
        except DpmError as error:
            self.failure = str(error)
        except Exception as error:
            self.failure = f"{type(error).__name__}: {error}"
        self._faults.report(f"cannot {name}", self.failure)
        return TransitionCallbackReturn.FAILURE

    def _configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        values = parameters.read(self)
        fault = parameters.first_fault(values)
        if fault:
            raise DpmError(fault)
        parameters.session_config(values)
        weights = Path(str(values["weights"])) if values["weights"] else None
        self._engine = self._engine_factory(
            str(values["model"]), weights, str(values["device"]), str(values["backend"])
        )
        self.get_logger().info(f"runs {self._engine.name}")
        if self._engine.notice:
            self.get_logger().warning(self._engine.notice)
        self._outputs = self._make_publishers()
        self._publishing = EstimatePublisher(self._outputs, Frames.of(values))
        return super().on_configure(state)

    def _make_publishers(self) -> dict[str, Any]:
        outputs = [output for output in interface.OUTPUTS if output is not interface.DIAGNOSTICS]
        return {
            output.name: self.create_lifecycle_publisher(output.type, output.name, output.qos) for output in outputs
        }

    def _activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        assert self._engine is not None
        assert self._publishing is not None
        values = parameters.read(self)
        done = super().on_activate(state)
        session = Session(self._engine, parameters.session_config(values))
        self._live = LiveSession(session, self._on_estimate, self._on_fault, self._publishing.wanted)
        self._publishing.forget()
        self._publishing.publish_world(self.get_clock().now().nanoseconds)
        self._inputs = Inputs(self, values, self._offer, self._reject, self._faults.report)
        self.get_logger().info(f"reads {self._inputs.topic}")
        return done

    def _stop(self) -> None:
        if self._inputs is not None:
            self._inputs.close()
            self._inputs = None
        if self._live is not None and not self._live.close():
            self.get_logger().error("the worker is still in the network; it ends with the process")
        self._live = None

    def _release(self) -> None:
        while self._outputs:
            self.destroy_lifecycle_publisher(self._outputs.popitem()[1])
        self._publishing = None
        self._engine = None
        self._newest = None

    # Messages.

    def _offer(self, frame: Frame) -> None:
        if self._live is not None:
            self._live.offer(frame)

    def _reject(self, cause: str, why: str) -> None:
        self._rejected[cause] += 1
        self._faults.report(cause, why)

    def _on_clock_jump(self, jump: TimeJump) -> None:
        """The bag loops, or the time that the node goes by is another: nothing of before belongs to what comes."""
        back = -jump.delta.nanoseconds * 1e-9
        why = f"the clock went back by {back:.3f} s" if back > 0 else "the node goes by another clock"
        self._faults.report("clock", f"{why}; a new map begins")
        self._begin_anew()

    def _begin_anew(self) -> None:
        if self._inputs is not None:
            self._inputs.forget()
        if self._live is not None:
            self._live.reset()
        self._newest = None
        if self._publishing is not None:
            self._publishing.forget()

    # The session's threads.

    def _on_estimate(self, estimate: Estimate) -> None:
        self._newest = estimate
        if self._publishing is not None:
            self._publishing.publish(estimate)

    def _on_fault(self, fault: Fault) -> None:
        if fault.new_map and self._publishing is not None:
            self._publishing.forget()
        self._faults.report(fault.cause, fault.message)

    # Services, parameters, diagnostics.

    def _reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._live is not None
        response.message = "a new map begins" if self._live is not None else "not active; nothing to reset"
        if self._live is not None:
            self._begin_anew()
        return response

    def _save_map(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        newest = self._newest
        if newest is None:
            response.message = "nothing was seen yet; there is no map"
            return response
        folder, frame_id = (str(self.get_parameter(name).value) for name in ("map_folder", "map_frame"))
        try:
            response.message = save_map(Path(folder), newest, frame_id)
            response.success = True
        except Exception as error:  # whatever a disk does, the node lives
            response.message = str(error) if isinstance(error, DpmError) else f"{type(error).__name__}: {error}"
            self._faults.report("save_map", response.message)
        return response

    def _tell_map(self) -> None:
        newest = self._newest
        if newest is not None and self._live is not None and self._publishing is not None:
            self._publishing.publish_map(newest)

    def _check_parameters(self, changes: list[RosParameter[Any]]) -> SetParametersResult:
        values = parameters.read(self) | {change.name: change.value for change in changes}
        fault = parameters.first_fault(values)
        if fault is None:
            try:
                parameters.session_config(values)
            except DpmError as error:
                fault = str(error)
        return SetParametersResult(successful=fault is None, reason=fault or "")

    def _use_parameters(self, _: list[RosParameter[Any]]) -> None:
        if self._live is not None:
            self._live.configure(parameters.session_config(parameters.read(self)))

    def _tell_health(self) -> None:
        now = self._health_now()
        if self._inputs is not None and now.silent_for > now.silence_limit and not now.clock_stands:
            self._faults.report("no images", f"none on {self._inputs.topic} for {now.silent_for:.0f} s")
        status = diagnostic_status(f"{self.get_fully_qualified_name().lstrip('/')}: stream", now, self._health)
        self._health = now
        self._diagnostics.publish(DiagnosticArray(header=self._stamped_now(), status=[status]))

    @property
    def _state(self) -> str:
        if self._live is not None:
            return "active"
        return "unconfigured" if self._engine is None else "inactive"

    @property
    def _simulated(self) -> bool:
        return bool(self.get_parameter("use_sim_time").value)

    def _stamped_now(self) -> Any:
        return conversions.header(self.get_clock().now().nanoseconds, "")

    def _health_now(self) -> Health:
        newest = self._newest
        clock_ns = self.get_clock().now().nanoseconds
        return Health(
            state=self._state,
            seconds=time.monotonic(),
            statistics=self._live.statistics() if self._live is not None else None,
            rejected=dict(self._rejected),
            faults=self._faults.totals(),
            engine=self._engine.name if self._engine is not None else "",
            notice=self._engine.notice if self._engine is not None else None,
            unit=newest.unit if newest is not None else "",
            scale=newest.scale if newest is not None else None,
            map_points=len(newest.static_map().points) if newest is not None else 0,
            tracks=len(newest.tracks.ids) if newest is not None else 0,
            stamp_age=None if newest is None else (clock_ns - newest.stamp_ns) * 1e-9,
            clock_ns=clock_ns,
            clock_stands=self._simulated and self._health is not None and self._health.clock_ns == clock_ns,
            silent_for=0.0 if self._inputs is None else time.monotonic() - self._inputs.image_seen,
            silence_limit=self.get_parameter("no_image_timeout").value,
        )


def main(argv: list[str] | None = None, engine_factory: EngineFactory = open_engine) -> int:
    """Run the node until it is told to end. 0 after SIGINT or SIGTERM, 2 where it cannot start."""
    try:
        rclpy.init(args=sys.argv if argv is None else argv)
        node = DpmNode(engine_factory)
    except (ParameterException, RuntimeError) as error:  # rcl's own errors are RuntimeErrors: arguments, YAML, ranges
        rclpy.try_shutdown()
        return _refuse(str(error))
    try:
        return _run(node)
    finally:
        rclpy.try_shutdown()


def _run(node: DpmNode) -> int:
    executor = SturdyExecutor(node.on_failed_callback)
    executor.add_node(node)
    try:
        with told_to_end():
            if node.get_parameter("autostart").value and not _start(node):
                return _refuse(node.failure or "the node did not start")
            executor.spin()
    finally:
        node.close()
        executor.remove_node(node)
        node.destroy_node()
    return 0


def _refuse(why: str) -> int:
    print(f"dpm: {' '.join(why.split())}", file=sys.stderr)
    return 2


def _start(node: DpmNode) -> bool:
    success = TransitionCallbackReturn.SUCCESS
    return node.trigger_configure() == success and node.trigger_activate() == success


if __name__ == "__main__":
    sys.exit(main())
