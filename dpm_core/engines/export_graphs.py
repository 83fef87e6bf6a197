# SPDX-License-Identifier: Apache-2.0
"""A network cut into graphs: fixed shapes, one window or pair without a batch axis, every input and output named.

| family | graphs |
|---|---|
| V-DPM | encoder: a frame; window: levels, own maps, cameras; time: every view at one asked time |
| VGGT | encoder; window |
| DUSt3R, D²USt3R, POMATO | encoder; pair: two frames' tokens to all that the heads say |
| POMATO with motion modules | encoder; window: one pass of fast reconstruction with one key frame |

What runs between the graphs (cameras of encodings, pairs into one frame) is the eager network's own code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import DpmError
from ..models import PairNetwork, POMATONetwork, VDPMNetwork, VGGTNetwork
from ..models.checks import patch_grid
from ..models.pairs import PairOutput
from ..models.vdpm import TIME_TOKEN

LEVELS = ("level_0", "level_1", "level_2", "level_3")
OWN = ("own_points", "own_conf", "pose_encoding")
DEFAULT_WINDOW = 5
"""As long as the session's own, so that the two meet where nobody says more."""

Network = VDPMNetwork | VGGTNetwork | PairNetwork
Size = tuple[int, int]


@dataclass(frozen=True)
class ModuleGraph:
    """A part of a network that becomes one graph.

    Attributes:
        name: of the graph.
        module: tensors in, a tuple of tensors out.
        inputs: shape of every input, by name, in the order of the module's arguments; all float32.
        outputs: names, in the order of the module's outputs.
    """

    name: str
    module: nn.Module
    inputs: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...]

    def run(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """As an engine runs a graph (see `exported.Graph`), but eagerly."""
        results = self.module(*(inputs[name] for name in self.inputs))
        return dict(zip(self.outputs, results, strict=True))


def graph_window(network: Network, window: int | None) -> int | None:
    """How many frames the graphs of a network see at once; None where they see pairs.

    Raises:
        DpmError: the network's windows are of another length, or have none.
    """
    if isinstance(network, PairNetwork):
        frames = network.frames if isinstance(network, POMATONetwork) else None
        if window in (None, frames):
            return frames
        if frames is None:
            raise DpmError(
                "this network sees frames by pairs, its export takes windows of any length; leave --window out"
            )
        raise DpmError(f"this network's weights are for windows of {frames} frames, not {window}; leave --window out")
    if window is not None and window < 1:
        raise DpmError(f"window is {window}; it must be 1 or more frames")
    return window or DEFAULT_WINDOW


def graphs_of(network: Network, size: Size, window: int | None) -> list[ModuleGraph]:
    """The graphs of a network, in the order they are run.

    Args:
        network: in evaluation mode.
        size: (H, W) of the images.
        window: from `graph_window`.

    Raises:
        DpmError: a side is no multiple of the patch.
    """
    rows, columns = patch_grid(*size, network.patch)
    with torch.no_grad():
        tokens = tuple(network.encode(torch.zeros(1, 3, *size)).shape[1:])
    encoder = ModuleGraph("encoder", _Encoder(network), {"image": (3, *size)}, ("tokens",))
    if isinstance(network, PairNetwork):
        if window is None:
            pair = _Pair(network, size)
            return [encoder, ModuleGraph("pair", pair, {"first": tokens, "second": tokens}, pair.outputs)]
        assert isinstance(network, POMATONetwork)
        inputs = {"window_tokens": (window, *tokens), "key": tokens}
        outputs = ("points_2", "conf_2", "matched_2", "conf_matched")
        return [encoder, ModuleGraph("window", _Reconstruction(network, size), inputs, outputs)]
    window_inputs = {"window_tokens": (window or DEFAULT_WINDOW, *tokens)}
    if isinstance(network, VGGTNetwork):
        return [encoder, ModuleGraph("window", _Scene(network, size), window_inputs, OWN)]
    dim = 2 * network.config.aggregator.dim
    level = (window or DEFAULT_WINDOW, network.aggregator.specials + rows * columns, dim)
    return [
        encoder,
        ModuleGraph("window", _Window(network, size), window_inputs, (*LEVELS, "time_tokens", *OWN)),
        ModuleGraph(
            "time", _Time(network, size), {**dict.fromkeys(LEVELS, level), "time_token": (dim,)}, ("points", "conf")
        ),
    ]


class _Encoder(nn.Module):
    """image [3, H, W] -> tokens [P, C]."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """One frame."""
        return (self.network.encode(image[None])[0],)


class _Scene(nn.Module):
    """tokens [S, P, C] -> own_points [S, H, W, 3], own_conf [S, H, W], pose_encoding [S, 9] (see CameraHead)."""

    def __init__(self, network: VGGTNetwork | VDPMNetwork, size: Size) -> None:
        super().__init__()
        self.network, self.size = network, size

    def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """One window."""
        return self.own(self.network.aggregate(tokens[None], self.size))

    def own(self, levels: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Each view at its own time, and the last refinement of its camera. levels: from `aggregate`."""
        maps = self.network.own_maps(levels, self.size)
        return maps.points[0], maps.conf[0], self.network.camera_head(levels[-1])[-1, 0]


class _Window(_Scene):
    """The same, after the four levels [S, specials + P, 2C] and time_tokens [S, 2C] that `_Time` takes."""

    def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """One window."""
        levels = self.network.aggregate(tokens[None], self.size)
        return (*(level[0] for level in levels), levels[-1][0, :, TIME_TOKEN], *self.own(levels))


class _Time(nn.Module):
    """Four levels and the asked time's token [2C] -> points [S, H, W, 3], conf [S, H, W]."""

    def __init__(self, network: VDPMNetwork, size: Size) -> None:
        super().__init__()
        self.network, self.size = network, size

    def forward(
        self, level_0: Tensor, level_1: Tensor, level_2: Tensor, level_3: Tensor, time_token: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Every view at one time."""
        levels = [level[None] for level in (level_0, level_1, level_2, level_3)]
        maps = self.network.maps_at(levels, time_token[None, None, None], self.size)
        return maps.points[0, 0], maps.conf[0, 0]


class _Pair(nn.Module):
    """Tokens [P, C] of two frames -> what of PairOutput the network has, without the batch axis."""

    def __init__(self, network: PairNetwork, size: Size) -> None:
        super().__init__()
        self.network, self.size = network, size
        with torch.no_grad():
            tokens = network.encode(torch.zeros(1, 3, *size))
            said = network.relate(tokens, tokens, (size, size))
        self.outputs = tuple(name for name in PairOutput._fields if getattr(said, name) is not None)

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, ...]:
        """One pair."""
        said = self.network.relate(first[None], second[None], (self.size, self.size))
        return tuple(getattr(said, name)[0] for name in self.outputs)


class _Reconstruction(nn.Module):
    """tokens [T, P, C] and the key frame's [P, C] -> every frame in the key's camera, and at its time: [T, H, W, …]."""

    def __init__(self, network: POMATONetwork, size: Size) -> None:
        super().__init__()
        self.network, self.size = network, size

    def forward(self, tokens: Tensor, key: Tensor) -> tuple[Tensor, ...]:
        """One window."""
        said = self.network.relate(key.expand_as(tokens), tokens, (self.size, self.size))
        assert said.matched_2 is not None
        assert said.conf_matched is not None
        return said.points_2, said.conf_2, said.matched_2, said.conf_matched
