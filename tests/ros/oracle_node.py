# SPDX-License-Identifier: Apache-2.0
"""The node with a network that knows the world: starts in a moment, and its answers can be computed."""

import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "stream"), str(Path(__file__).resolve().parents[2])]

from ball import BallWorld, passing  # noqa: E402
from dpm_ros.node import main  # noqa: E402
from oracle import OracleEngine  # noqa: E402


class SlowOracle(OracleEngine):
    """Takes half a second over each frame."""

    name = "slow oracle"

    def encode(self, image):
        time.sleep(0.5)
        return super().encode(image)


class UnscaledOracle(OracleEngine):
    """Answers in a unit that is not the metre in any window."""

    name = "unscaled oracle"

    def unit(self, window):
        return 2.5 * super().unit(window)


ENGINES = {
    "oracle": OracleEngine,
    "slow": SlowOracle,
    "unscaled": UnscaledOracle,
    "ball": lambda: OracleEngine(BallWorld(passing)),
}


def engine(model, weights, device, backend):
    """By the parameter `model`, which is the real one's name where a test says nothing."""
    return ENGINES.get(model, OracleEngine)()


if __name__ == "__main__":
    sys.exit(main(sys.argv, engine))
