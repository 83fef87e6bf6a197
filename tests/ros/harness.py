# SPDX-License-Identifier: Apache-2.0
"""What the tests of running nodes share: processes, and a peer that talks to them."""

import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import rclpy
from dpm_ros import conversions, interface
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

ROOT = Path(__file__).resolve().parents[2]
ORACLE_NODE = [sys.executable, str(Path(__file__).with_name("oracle_node.py"))]
REAL_NODE = [sys.executable, "-m", "dpm_ros.node"]
PATIENCE = 60.0  # far more than anything takes: a machine may be busy
SETTLE = 0.5  # the other side of a match may learn of it a little later


class Process:
    """A child process and everything that it says."""

    def __init__(self, command):
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the process)
        self._child = subprocess.Popen(command, cwd=ROOT, stdout=self._log, stderr=subprocess.STDOUT, text=True)

    @property
    def pid(self):
        return self._child.pid

    @property
    def running(self):
        return self._child.poll() is None

    def said(self):
        self._log.flush()
        return Path(f"/proc/self/fd/{self._log.fileno()}").read_text()

    def end(self, how=signal.SIGTERM, timeout=PATIENCE):
        """Send a signal and wait; the return code."""
        if self.running:
            self._child.send_signal(how)
        return self.wait(timeout)

    def wait(self, timeout=PATIENCE):
        try:
            return self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
            raise AssertionError(f"still running after {timeout} s; it said:\n{self.said()}") from None

    def close(self):
        """End it as a user would: who is killed stays matched by the others for a while."""
        if self.running:
            self.end()
        self._log.close()


class Graph:
    """Starts processes and peers in one ROS domain."""

    def __init__(self, domain):
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self._open = []

    def run(self, *command):
        """Start a process."""
        return self._keep(Process([str(part) for part in command]))

    def node(self, *arguments, command=None):
        """Start the node dpm, with the oracle for a network unless told otherwise."""
        return self.run(*(command or ORACLE_NODE), "--ros-args", *arguments)

    def peer(self, name="peer", namespace=""):
        """A node of the test's own."""
        return self._keep(Peer(name, namespace, self.context))

    def _keep(self, thing):
        self._open.append(thing)
        return thing

    @property
    def opened(self):
        """How many processes and peers there are."""
        return len(self._open)

    def close(self, keep=0):
        """End all but the first `keep` processes and peers, the newest first."""
        while len(self._open) > keep:
            self._open.pop().close()

    def end(self):
        """End everything."""
        self.close()
        self.context.try_shutdown()


class Peer:
    """Publishes images, hears outputs, calls services."""

    def __init__(self, name, namespace, context):
        options = {"enable_rosout": False, "start_parameter_services": False}
        self.node = Node(name, namespace=namespace, context=context, **options)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self.node)
        self.heard = defaultdict(list)
        self.ears = []
        self._clients = {}

    def hear(self, *outputs):
        """Collect these outputs, all of the node where none is named."""
        for output in outputs or interface.OUTPUTS:
            self.listen(output.type, output.name, output.qos)
        return self

    def listen(self, kind, topic, qos: QoSProfile | int = 10):
        """Collect one topic."""
        self.ears.append(self.node.create_subscription(kind, topic, self.heard[topic].append, qos))
        return self

    def publisher(self, kind=Image, topic="image", qos=100):
        """A publisher that the node has matched, as it has all that this peer hears."""
        publisher = self.node.create_publisher(kind, topic, qos)  # a busy machine lets a node wait
        self.until(lambda: publisher.get_subscription_count() > 0, f"nobody reads {topic}")
        self.until(lambda: all(ear.get_publisher_count() > 0 for ear in self.ears), "not all outputs are offered")
        self.spin(SETTLE)
        return publisher

    def until(self, condition, complaint, patience=PATIENCE):
        """Spin until something holds."""
        ends = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < ends, complaint() if callable(complaint) else complaint
            self._executor.spin_once(timeout_sec=0.05)

    def spin(self, seconds):
        """Spin for a while."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            self._executor.spin_once(timeout_sec=0.02)

    def take_all(self):
        """Take what has come: of topics that keep one message, the next would take its place."""
        quiet = 0
        while quiet <= len(self.ears):
            before = sum(map(len, self.heard.values()))
            self._executor.spin_once(timeout_sec=0)
            quiet = quiet + 1 if sum(map(len, self.heard.values())) == before else 0

    def exchange(self, publisher, message, answer=interface.POSE):
        """Publish and wait for the answer of the same stamp, which is returned."""
        publisher.publish(message)
        stamp, answers = message.header.stamp, self.heard[answer.name]
        self.until(lambda: any(a.header.stamp == stamp for a in answers), f"no {answer.name} of {stamp}")
        self.take_all()
        return next(a for a in answers if a.header.stamp == stamp)

    def call(self, kind, name, request):
        """Call a service; its response."""
        if name not in self._clients:
            self._clients[name] = client = self.node.create_client(kind, name)
            self.until(client.service_is_ready, f"no service {name}")
            self.spin(SETTLE)  # a server that has not matched the client's reader loses its response
        client = self._clients[name]
        future = client.call_async(request)
        self.until(future.done, f"no response of {name}")
        return future.result()

    def health(self):
        """A diagnostic status that comes from now on: (level, message, values)."""
        heard = self.heard[interface.DIAGNOSTICS.name]
        before = len(heard)
        self.until(lambda: len(heard) > before + 1, "no diagnostics")
        status = heard[-1].status[0]
        return status.level, status.message, {value.key: value.value for value in status.values}

    def close(self):
        self._executor.remove_node(self.node)
        self.node.destroy_node()


def image_message(frame, encoding="rgb8", **changes):
    """The message of a Frame."""
    height, width = frame.image.shape[:2]
    message = Image(height=height, width=width, encoding=encoding, step=3 * width, data=frame.image.tobytes())
    message.header = conversions.header(frame.stamp_ns, frame.frame_id)
    for name, value in changes.items():
        setattr(message, name, value)
    return message
