# SPDX-License-Identifier: Apache-2.0
"""The node with a network whose answer to some grey values is a fault, as networks and devices have them."""

import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "stream"), str(Path(__file__).resolve().parents[2])]

import torch  # noqa: E402
from dpm_ros.node import main  # noqa: E402
from oracle import OracleEngine  # noqa: E402

from dpm_core.errors import DpmError  # noqa: E402

NAN_CAMERA, NAN_POINTS, RAISES, NO_MEMORY, SLOW = 200, 201, 202, 203, 204
BEGUN = "the slow answer is begun"
ABSENT = "its weights are not there"


class MoodyOracle(OracleEngine):
    """Knows the world, but for the frames above.

    Args:
        gate: a file; the slow answer waits until it is there.
    """

    name = "moody oracle"

    def __init__(self, gate):
        super().__init__()
        self.gate = gate

    def predict(self, tokens, size, times):
        newest = round(float(tokens[-1]))
        if newest == RAISES:
            raise RuntimeError("the device fell off the bus")
        if newest == NO_MEMORY:
            raise MemoryError("of 4 GiB none is left")
        if newest == SLOW:
            print(BEGUN, flush=True)
            while not self.gate.exists():
                time.sleep(0.01)
        prediction = super().predict(tokens, size, times)
        if newest == NAN_CAMERA:
            return replace(prediction, world_from_camera=torch.full_like(prediction.world_from_camera, torch.nan))
        if newest == NAN_POINTS:
            return replace(
                prediction, own_points=prediction.own_points * torch.nan, points=prediction.points * torch.nan
            )
        return prediction


def engine(model, weights, device, backend):
    """model: the path of the gate. weights: a file that must be there, where one is named."""
    if weights and not weights.exists():
        raise DpmError(ABSENT)
    return MoodyOracle(Path(model))


if __name__ == "__main__":
    sys.exit(main(sys.argv, engine))
