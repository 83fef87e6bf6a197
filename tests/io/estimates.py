# SPDX-License-Identifier: Apache-2.0
"""Made-up estimates whose every number is known."""

from functools import partial

import numpy as np

from dpm_core.types import Cloud, Estimate, Tracks

STAMP = 1_700_000_000_123_456_789
PERIOD = 100_000_000
HEIGHT, WIDTH = 18, 24


def pose(index):
    """[4, 4] rigid, turning about a slanted axis."""
    axis = np.array([0.6, 0.0, 0.8])
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    angle = 0.7 * index
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    matrix[:3, 3] = [0.1 * index, -0.2, 1 / 3]
    return matrix


def cloud(seed, points=50):
    random = np.random.default_rng(seed)
    return Cloud(
        points=random.normal(0, 1, (points, 3)).astype(np.float32),
        colors=random.integers(0, 255, (points, 3), np.uint8),
        confidence=random.uniform(1, 9, points).astype(np.float32),
        velocity=random.normal(0, 1, (points, 3)).astype(np.float32),
        dynamic=random.uniform(0, 1, points) > 0.5,
    )


def tracks(index):
    """One point more with every frame, each a unit further along x at every stamp, tracks of three frames."""
    first = max(0, index - 2)
    stamps = tuple(STAMP + each * PERIOD for each in range(first, index + 1))
    points = np.full((len(stamps), index, 3), np.nan, np.float32)
    for row, at in enumerate(range(first, index + 1)):
        for track in range(at):
            points[row, track] = [at, track, 0.1]
    return Tracks(np.arange(index), stamps, points)


def estimate(index):
    random = np.random.default_rng(index)
    depth = random.uniform(1, 5, (HEIGHT, WIDTH)).astype(np.float32)
    depth[0, 0] = np.nan
    return Estimate(
        stamp_ns=STAMP + index * PERIOD,
        frame_id="front",
        world_from_camera=pose(index),
        intrinsics=np.array([[20.1, 0, 11.5], [0, 21.2, 8.5], [0, 0, 1]]),
        unit="network",
        image=random.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8),
        depth=depth,
        conf=np.ones((HEIGHT, WIDTH), np.float32),
        dynamic=random.uniform(0, 1, (HEIGHT, WIDTH)) > 0.8,
        scene_flow=np.zeros((HEIGHT, WIDTH, 3), np.float32),
        motion_known=index > 0,
        cloud=cloud(index),
        seconds={"encode": 0.01, "predict": 0.03},
        tracks=tracks(index),
        static_map=partial(cloud, 100 + index, 100 * index),
    )
