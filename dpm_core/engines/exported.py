# SPDX-License-Identifier: Apache-2.0
"""The engine over an export's graphs, whatever runs them: the same numbers as the eager network's, window by window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from ..checkpoints.loading import shell
from ..errors import DpmError
from ..geometry.fit import Fit, fit_inside
from ..geometry.pairs import Edges
from ..models import PairNetwork, POMATONetwork, VDPMNetwork, VGGTNetwork
from ..models.checks import check_positions
from ..models.pair_window import predict_from_pairs
from ..models.pairs import PairOutput
from ..models.pomato_window import predict_from_window
from ..types import Prediction
from .export_graphs import LEVELS
from .manifest import Manifest

Size = tuple[int, int]


class Graph(Protocol):
    """One graph, ready to run."""

    def run(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """All outputs by name. inputs: by name, of the manifest's shapes and types, on the engine's device.

        The next run may write over what this one gave.
        """


class ExportedEngine:
    """Runs an export's graphs. See `Engine` for the methods.

    A window shorter than the graphs' goes on with its last frame standing still, until it has grown.
    """

    def __init__(self, manifest: Manifest, graphs: Mapping[str, Graph], runtime: str, device: torch.device) -> None:
        """A set of graphs as an engine.

        Args:
            manifest: of the export.
            graphs: by the manifest's names.
            runtime: what runs them, in words.
            device: where they take and give tensors.

        Raises:
            DpmError: this version of dpm does not know the model.
        """
        self._manifest, self._graphs = manifest, graphs
        self._spec = manifest.spec
        # What needs no weights is done by the network itself, as an empty shell.
        self._shell = shell(self._spec)
        self.name = f"{manifest.model} ({runtime}, {manifest.precision}, {device})"
        self.notice = manifest.notice
        self.device = device

    @property
    def longest_window(self) -> int | None:
        """See BoundedEngine; None for pairs."""
        return self._manifest.window

    def fit(self, height: int, width: int) -> Fit:
        """By the rule of the network's family where that gives the exported size, else the middle of the image."""
        size = self._manifest.size
        fit = self._spec.fit(height, width)
        return fit if fit.size == size else fit_inside(height, width, size)

    def encode(self, image: Tensor) -> Tensor:
        """[3, H, W] in [0, 1] -> [P, C].

        Raises:
            DpmError: the image has not the exported size.
        """
        self._check_size((image.shape[-2], image.shape[-1]))
        return self._graphs["encoder"].run({"image": image.float()})["tokens"].clone()

    def predict(self, tokens: Sequence[Tensor], size: Size, times: Sequence[int]) -> Prediction:
        """The window's point maps at the asked times.

        Raises:
            DpmError: the window is empty or longer than the export's, of another size, or a time is outside.
        """
        self._check_size(size)
        self._check_window(len(tokens))
        check_positions("target time", times, len(tokens))
        network = self._shell
        if isinstance(network, VDPMNetwork):
            return self._predict_at_times(network, tokens, times)
        if isinstance(network, VGGTNetwork):
            return self._predict_standing(network, tokens, times)
        window = torch.stack(list(tokens))
        if isinstance(network, POMATONetwork) and network.frames is not None:
            return predict_from_window(_Window(network, self._graphs["window"]), window, size, times, reference=0)
        return predict_from_pairs(_Pairs(network, self._graphs["pair"]), window, size, times, reference=0)

    def _predict_at_times(self, network: VDPMNetwork, tokens: Sequence[Tensor], times: Sequence[int]) -> Prediction:
        said = self._graphs["window"].run({"window_tokens": self._filled(tokens)})
        frames = len(tokens)
        levels = {name: said[name] for name in LEVELS}
        maps = []
        for time in times:
            at_time = self._graphs["time"].run({**levels, "time_token": said["time_tokens"][time]})
            maps.append((at_time["points"][:frames].clone(), at_time["conf"][:frames].clone()))
        own_points, own_conf, world_from_camera, intrinsics = self._own(network, said, frames)
        points, conf = zip(*maps, strict=True) if maps else ((), ())
        return Prediction(
            own_points=own_points,
            own_conf=own_conf,
            points=torch.stack(points) if maps else own_points.new_zeros(0, *own_points.shape),
            conf=torch.stack(conf) if maps else own_conf.new_zeros(0, *own_conf.shape),
            times=tuple(times),
            world_from_camera=world_from_camera,
            intrinsics=intrinsics,
        )

    def _predict_standing(self, network: VGGTNetwork, tokens: Sequence[Tensor], times: Sequence[int]) -> Prediction:
        said = self._graphs["window"].run({"window_tokens": self._filled(tokens)})
        own_points, own_conf, world_from_camera, intrinsics = self._own(network, said, len(tokens))
        return Prediction(
            own_points=own_points,
            own_conf=own_conf,
            points=own_points.expand(len(times), -1, -1, -1, -1),
            conf=own_conf.expand(len(times), -1, -1, -1),
            times=tuple(times),
            world_from_camera=world_from_camera,
            intrinsics=intrinsics,
        )

    def _own(
        self, network: VDPMNetwork | VGGTNetwork, said: Mapping[str, Tensor], frames: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Own points and confidence, cameras and intrinsics, of the window's first frames."""
        cameras = network.cameras(said["pose_encoding"][:frames], self._manifest.size)
        return said["own_points"][:frames].clone(), said["own_conf"][:frames].clone(), *cameras

    def _filled(self, tokens: Sequence[Tensor]) -> Tensor:
        """[S, P, C] of the graphs' S."""
        missing = (self._manifest.window or len(tokens)) - len(tokens)
        return torch.stack([*tokens, *[tokens[-1]] * missing])

    def _check_size(self, size: Size) -> None:
        if size != self._manifest.size:
            height, width = self._manifest.size
            raise DpmError(
                f"images are {size[1]} x {size[0]}, the export of '{self._manifest.model}' is for {width} x {height}; "
                f"export it with --size {size[0]}x{size[1]}"
            )

    def _check_window(self, frames: int) -> None:
        longest = self._manifest.window
        if frames < 1:
            raise DpmError("the window is empty; a network needs at least one frame")
        if longest is not None and frames > longest:
            raise DpmError(
                f"the window has {frames} frames, the export of '{self._manifest.model}' takes at most {longest}; "
                f"use --window {longest}, or export with --window {frames}"
            )


class _Pairs:
    """Pairs of frames by the graph, one after another; what `predict_from_pairs` asks of a network."""

    def __init__(self, network: PairNetwork, graph: Graph) -> None:
        self._network, self._graph = network, graph
        self.knows_motion = network.knows_motion
        self.second_at_first = network.second_at_first

    def relate_frames(self, tokens: Tensor, edges: Edges, size: Size) -> PairOutput:
        """As PairNetwork's."""
        said: dict[str, list[Tensor]] = {}
        for first, second in edges:
            for name, value in self._graph.run({"first": tokens[first], "second": tokens[second]}).items():
                said.setdefault(name, []).append(value.clone())
        return PairOutput(**{name: torch.stack(values) for name, values in said.items()})


class _Window:
    """Windows of POMATO's motion modules by the graph; what `predict_from_window` asks of a network."""

    def __init__(self, network: POMATONetwork, graph: Graph) -> None:
        self._graph = graph
        self.frames = network.frames
        self.second_at_first = network.second_at_first

    def reconstruct(self, tokens: Tensor, size: Size, key: int) -> PairOutput:
        """As POMATONetwork's; the first map, which is of the key frame alone, is not made."""
        said = {
            name: value.clone()
            for name, value in self._graph.run({"window_tokens": tokens, "key": tokens[key]}).items()
        }
        return PairOutput(points_1=said["points_2"][:0], conf_1=said["conf_2"][:0], **said)
