# SPDX-License-Identifier: Apache-2.0
"""What a network cannot take, said before torch says it."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import DpmError


def patch_grid(height: int, width: int, patch: int) -> tuple[int, int]:
    """(rows, columns) of patches of an image.

    Raises:
        DpmError: a side is not a positive multiple of the patch.
    """
    if height < patch or width < patch or height % patch or width % patch:
        near = [max(patch, round(side / patch) * patch) for side in (width, height)]
        raise DpmError(
            f"image size {width}x{height} is no multiple of the network's patch of {patch} pixels; "
            f"resize to {near[0]}x{near[1]}"
        )
    return height // patch, width // patch


def check_window(frames: int, tokens: int, grid: tuple[int, int], patch: int) -> None:
    """A window must hold at least one frame, and its tokens must be those of the stated image size.

    Raises:
        DpmError: it does not.
    """
    if frames < 1:
        raise DpmError("the window is empty; a network needs at least one frame")
    rows, columns = grid
    if tokens != rows * columns:
        raise DpmError(
            f"the window holds {tokens} tokens a frame, but an image of {columns * patch}x{rows * patch} has "
            f"{rows * columns}; give the size that its frames were encoded at"
        )


def check_positions(what: str, positions: Sequence[int], frames: int) -> None:
    """Each position must name a frame of the window.

    Raises:
        DpmError: one does not.
    """
    for position in positions:
        if not 0 <= position < frames:
            raise DpmError(f"{what} {position} is outside the window of {frames} frames; choose 0 to {frames - 1}")
