# SPDX-License-Identifier: Apache-2.0
"""A world small enough to know everything of: a blue wall, a red square that slides before it, a camera that turns."""

from dataclasses import dataclass

import numpy as np

WALL, SQUARE = 4.0, 2.0  # distances along z
SPEED = np.array([0.11, 0.03, 0.0])  # of the square, a frame


@dataclass(frozen=True)
class World:
    """Frames of 32 x 24 pixels unless a data set fixes its camera."""

    frames: int = 5
    size: tuple = (24, 32)
    K: np.ndarray = None
    moving: bool = True

    @property
    def intrinsics(self):
        height, width = self.size
        return (
            np.array([[30, 0, (width - 1) / 2], [0, 30, (height - 1) / 2], [0, 0, 1.0]]) if self.K is None else self.K
        )

    def pose(self, frame):
        """world_from_camera."""
        angle = 0.02 * frame
        pose = np.eye(4)
        pose[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
        pose[:3, 3] = [0.05 * frame, -0.02 * frame, 0.03 * frame]
        return pose

    def centre(self, frame):
        return np.array([-0.1, 0.0, SQUARE]) + (frame * SPEED if self.moving else 0)

    def cast(self, frame, pixels=None):
        """depth [H, W], whether the square is seen [H, W], points in the world [H, W, 3]; also of other (u, v)."""
        height, width = self.size
        v, u = np.mgrid[:height, :width] if pixels is None else pixels[::-1]
        rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(self.intrinsics).T @ self.pose(frame)[:3, :3].T
        origin = self.pose(frame)[:3, 3]
        depths = [(z - origin[2]) / rays[..., 2] for z in (SQUARE, WALL)]
        points = [origin + rays * depth[..., None] for depth in depths]
        seen = (np.abs(points[0] - self.centre(frame))[..., :2] < 0.4).all(-1)
        return np.where(seen, *depths), seen, np.where(seen[..., None], *points)

    def depth(self, frame):
        return self.cast(frame)[0].astype(np.float32)

    def image(self, frame, pixels=None):
        _, seen, points = self.cast(frame, pixels)
        shade = (40 * (np.floor(4 * points[..., 0]) % 2)).astype(np.uint8)
        blank = np.zeros_like(shade)
        return np.where(
            seen[..., None], np.stack([200 + shade, blank, blank], -1), np.stack([blank, blank, 200 + shade], -1)
        )

    def at(self, frame, time):
        """P[frame, time] in the world."""
        _, seen, points = self.cast(frame)
        return points + seen[..., None] * (self.centre(time) - self.centre(frame))

    def project(self, points, frame):
        local = np.linalg.inv(self.pose(frame))
        projected = (points @ local[:3, :3].T + local[:3, 3]) @ self.intrinsics.T
        return projected[..., :2] / projected[..., 2:]

    def flow(self, frame):
        """To the next frame: [H, W, 2] pixels, and whether its goal is seen there [H, W]."""
        height, width = self.size
        goal = self.project(self.at(frame, frame + 1), frame + 1)
        u, v = np.round(goal).astype(int).transpose(2, 0, 1)
        inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
        square = self.cast(frame + 1)[1][v.clip(0, height - 1), u.clip(0, width - 1)]
        v0, u0 = np.mgrid[:height, :width]
        return (goal - np.stack([u0, v0], -1)).astype(np.float32), inside & (square == self.cast(frame)[1])


def check(window, world, frames, known="everywhere", tolerance=1e-3):
    """The window tells the truth of the world, whatever world coordinates it uses.

    known: where P[v, t] of another time must be: "everywhere", "somewhere on both", "standing", "own time".
    """
    start = world.pose(frames[0])
    local = window.in_camera(0)
    own, valid = (value.numpy() for value in local.own_points())
    own = own[0] @ start[:3, :3].T + start[:3, 3]
    square = own[..., 2] < (SQUARE + WALL) / 2
    flat = np.where(square, SQUARE, WALL)
    assert valid.mean() > 0.02
    assert np.abs(own[..., 2] - flat)[valid[0]].max() < 3 * tolerance
    red = window.images[0, :, 0].numpy() > window.images[0, :, 2].numpy()
    assert (red == square)[valid[0]].mean() > 0.95
    points = local.points[0].numpy() @ start[:3, :3].T + start[:3, 3]
    for i, time in enumerate(window.times):
        for view, frame in enumerate(frames):
            told = window.valid[0, i, view].numpy()
            gap = frames[time] - frame
            motion = square[view, ..., None] * SPEED * gap * world.moving
            error = np.abs(points[i, view] - own[view] - motion).max(-1)
            assert not told.any() or error[told].max() < 3 * tolerance
            if gap == 0 or known == "everywhere":
                assert (told == valid[0, view]).mean() > 0.9
            elif known == "standing":
                assert (told == valid[0, view] & ~square[view]).all()
            elif known == "own time":
                assert not told.any()
            else:
                assert told[square[view]].any()
                assert told[~square[view]].any()
    if window.dynamic is not None:
        told = window.dynamic[0].numpy()
        assert (told == square & world.moving)[valid[0]].mean() > 0.9
