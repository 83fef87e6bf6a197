# SPDX-License-Identifier: Apache-2.0
"""The node `dpm`: a managed node that starts itself, a thin face over the live session that `dpm run` uses too.

One executor thread reads messages and answers services; the session's worker thread infers and publishes.
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
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter as RosParameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import Trigger

from dpm_core.engines import Engine, open_engine
from dpm_core.errors import DpmError
from dpm_core.stream import Fault, LiveSession, Session
from dpm_core.types import Estimate, Float64, Frame, UInt8

from . import conversions, interface, parameters
from .diagnostics import Health, diagnostic_status
from .ending import told_to_end
from .faults import FaultLog
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
        self._inputs: list[Any] = []
        self._calibration: CameraInfo | None = None
        self._rejected: Counter[str] = Counter()
        self._newest: Estimate | None = None
        self._image_seen = time.monotonic()
        self._health: Health | None = None
        self._diagnostics = self.create_publisher(
            DiagnosticArray, interface.DIAGNOSTICS.name, interface.DIAGNOSTICS.qos
        )
        # Steady, not the node's clock: with simulated time a paused bag must not stop diagnostics.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._tell_health, clock=steady)
        self.create_timer(1.0, self._tell_map, clock=steady)
        self.create_service(Trigger, interface.RESET.name, self._reset)
        self.create_service(Trigger, interface.SAVE_MAP.name, self._save_map)
        self.add_on_set_parameters_callback(self._check_parameters)
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

    def _transition(self, name: str, act: Callable[[], TransitionCallbackReturn]) -> TransitionCallbackReturn:
        try:
            return act()
        except DpmError as error:
            self.failure = str(error)
        except Exception as error:
            self.failure = f"{type(error).__name__}: {error}"
        self.get_logger().fatal(f"cannot {name}: {self.failure}")
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
        self._image_seen = time.monotonic()
        self._subscribe(values)
        return done

    def _subscribe(self, values: dict[str, parameters.Value]) -> None:
        qos = parameters.image_qos(values)
        image = self.resolve_topic_name(interface.IMAGE.name)
        if values["image_transport"] == "compressed":
            topic = f"{image}/compressed"
            self._inputs = [self.create_subscription(CompressedImage, topic, self._on_compressed, qos)]
        else:
            topic = image
            self._inputs = [self.create_subscription(Image, topic, self._on_image, qos)]
        info = interface.CAMERA_INFO
        self._inputs.append(self.create_subscription(info.type, info.name, self._on_camera_info, qos))
        self.get_logger().info(f"reads {self._inputs[0].topic_name}")

    def _stop(self) -> None:
        while self._inputs:
            self.destroy_subscription(self._inputs.pop())
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

    def _on_image(self, message: Image) -> None:
        self._offer(message, lambda: conversions.rgb_from_image(message))

    def _on_compressed(self, message: CompressedImage) -> None:
        self._offer(message, lambda: conversions.rgb_from_compressed(message))

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._calibration = message

    def _offer(self, message: Image | CompressedImage, decode: Callable[[], UInt8]) -> None:
        self._image_seen = time.monotonic()
        try:
            image = decode()
        except DpmError as error:
            self._reject("unreadable image", str(error))
            return
        except Exception as error:  # whatever a topic holds, the node lives
            self._reject("unreadable image", f"{type(error).__name__}: {error}")
            return
        if self._live is None:
            return
        frame_id = message.header.frame_id or "camera"
        stamp_ns = conversions.nanoseconds(message.header.stamp)
        self._live.offer(Frame(stamp_ns, image, frame_id, self._intrinsics(*image.shape[:2])))

    def _reject(self, cause: str, why: str) -> None:
        self._rejected[cause] += 1
        self._faults.report(cause, why)

    def _intrinsics(self, height: int, width: int) -> Float64 | None:
        info = self._calibration
        if info is None:
            return None
        if (info.height, info.width) != (height, width):
            self._faults.report(
                "calibration",
                f"camera_info is of {info.width} x {info.height}, the image is {width} x {height}; it is not used",
            )
            return None
        return conversions.intrinsics_from_camera_info(info)

    # The worker's side.

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
        if self._live is not None and self._publishing is not None:
            self._live.reset()
            self._newest = None
            self._publishing.forget()
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
        if now.state == "active" and now.silent_for > now.silence_limit:
            self._faults.report("no images", f"none on {self._inputs[0].topic_name} for {now.silent_for:.0f} s")
        status = diagnostic_status(f"{self.get_fully_qualified_name().lstrip('/')}: stream", now, self._health)
        self._health = now
        self._diagnostics.publish(DiagnosticArray(header=self._stamped_now(), status=[status]))

    @property
    def _state(self) -> str:
        if self._live is not None:
            return "active"
        return "unconfigured" if self._engine is None else "inactive"

    def _stamped_now(self) -> Any:
        return conversions.header(self.get_clock().now().nanoseconds, "")

    def _health_now(self) -> Health:
        newest = self._newest
        age = None if newest is None else (self.get_clock().now().nanoseconds - newest.stamp_ns) * 1e-9
        return Health(
            state=self._state,
            seconds=time.monotonic(),
            statistics=self._live.statistics() if self._live is not None else None,
            rejected=dict(self._rejected),
            faults=self._faults.totals(),
            engine=self._engine.name if self._engine is not None else "",
            notice=self._engine.notice if self._engine is not None else None,
            unit=newest.unit if newest is not None else "",
            stamp_age=age,
            silent_for=time.monotonic() - self._image_seen,
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
    executor = SingleThreadedExecutor()
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
