# SPDX-License-Identifier: Apache-2.0
"""A running node that hears good and bad images, and the account that is kept of both."""

import sys
from itertools import count
from pathlib import Path

import oracle
from dpm_ros import interface
from harness import image_message

MOODY_NODE = [sys.executable, str(Path(__file__).with_name("moody_node.py"))]
EVERY_IMAGE = ("-p", "image_qos:=reliable", "-p", "image_qos_depth:=1000")  # what DDS drops nobody can count
HEARD = (interface.POSE, interface.PATH, interface.POINTS, interface.DIAGNOSTICS)


class FaultyStream:
    """One node, one camera. Every image that it ever sends is accounted for by the node's diagnostics."""

    def __init__(self, graph, namespace, *arguments, make=None, topic=interface.IMAGE):
        """make: gives a good message of a frame."""
        self.node = graph.node(*EVERY_IMAGE, "-r", f"__ns:=/{namespace}", *arguments, command=MOODY_NODE)
        self.peer = graph.peer(namespace=f"/{namespace}").hear(*HEARD)
        self.images = self.peer.publisher(topic.type, topic.name, qos=1000)  # nor what it overwrites
        self.sent = 0
        self._status = f"{namespace}/dpm: stream"
        self._make = make or image_message
        self._stamps = count(100)

    def frame(self, grey=7, **changes):
        """A frame that is a tenth of a second later than the one before."""
        return oracle.frame(grey, stamp_ns=next(self._stamps) * oracle.PERIOD_NS, **changes)

    def message(self, grey=7, **changes):
        """The message of such a frame."""
        return self._make(self.frame(grey), **changes)

    def send(self, *messages):
        """Publish and go on."""
        for message in messages:
            self.images.publish(message)
            self.sent += 1

    def exchange(self, message, answer=interface.POSE):
        """Publish one image; the answer of its stamp."""
        self.sent += 1
        return self.peer.exchange(self.images, message, answer)

    def good(self):
        """A good frame is processed; its pose."""
        return self.exchange(self.message())

    @property
    def values(self):
        """The node's newest diagnostics; all nodes share the topic."""
        for message in reversed(self.peer.heard[interface.DIAGNOSTICS.name]):
            for status in message.status:
                if status.name == self._status:
                    return {value.key: value.value for value in status.values}
        return {}

    def dropped(self, reason):
        """How many images were dropped for it, as far as was told."""
        return int(self.values.get(f"dropped: {reason}", 0))

    def accounted(self):
        """Wait until diagnostics tell of all that was sent: in = out + drops by reason, and nothing waits."""

        def is_so():
            values = self.values
            drops = sum(int(value) for key, value in values.items() if key.startswith("dropped: "))
            frames_in = int(values.get("frames in", -1))
            return frames_in == self.sent == int(values["estimates out"]) + drops

        self.peer.until(is_so, lambda: f"{self.sent} images were sent; {self.values}")

    def survives(self, *messages, reason, words):
        """Bad images are dropped for this reason, named once in the log, with these words in the diagnostics.

        A good image after them is processed.
        """
        before = self.dropped(reason)
        for message in messages:
            self.send(message)
            self.accounted()  # before the next one comes, or that might take its place
        self.good()
        assert self.dropped(reason) == before + len(messages)
        assert words in self.values[f"fault: {reason}"]
        assert f"{reason}: " in self.node.said()

    def ends_well(self):
        """The node ends where it is asked to, and never said that it did not know what to do."""
        assert self.node.end() == 0, self.node.said()
        assert "Traceback" not in self.node.said()
