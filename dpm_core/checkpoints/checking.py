# SPDX-License-Identifier: Apache-2.0
"""Whether a file's weights fit a network, without making the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ..errors import DpmError
from .files import WeightFile, metadata_json
from .layouts import describe, recognise
from .loading import METADATA, shell, spec_of, strict
from .registry import REGISTRY, NetworkSpec, find_spec


@dataclass(frozen=True)
class Figures:
    """Of the tensors that the network takes.

    Attributes:
        tensors: how many.
        parameters: numbers in them.
        dtypes: their types, such as "float32" or "float16, float32".
    """

    tensors: int
    parameters: int
    dtypes: str


@dataclass(frozen=True)
class Checked:
    """A file whose every key and shape is right.

    Attributes:
        spec: the network, with the configuration that the file tells.
        tensors: exactly those that it takes.
        figures: of them.
    """

    spec: NetworkSpec
    tensors: Mapping[str, Tensor]
    figures: Figures


def check(file: WeightFile, name: str | None = None) -> Checked:
    """Hold the file against a network.

    Args:
        file: as read.
        name: of the network; None for the one that the file seems to be of.

    Raises:
        DpmError: it is of no network that we know, or a key or shape is wrong.
    """
    candidates = [find_spec(name)] if name is not None else _candidates(file)
    first: DpmError | None = None
    for candidate in candidates:
        try:
            return _against(candidate, file)
        except DpmError as error:
            first = first or error
    raise first or DpmError(f"{file.path} holds {describe(file.tensors)}; `dpm weights list` tells what we know")


def _against(wanted: NetworkSpec, file: WeightFile) -> Checked:
    spec = spec_of(file, wanted)
    tensors = strict(spec, shell(spec), file)
    dtypes = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()})
    parameters = sum(tensor.numel() for tensor in tensors.values())
    return Checked(spec, tensors, Figures(len(tensors), parameters, ", ".join(dtypes)))


def _candidates(file: WeightFile) -> list[NetworkSpec]:
    """The networks of the file's family; the one that its metadata names is first."""
    told = metadata_json(file, METADATA)
    told = told if isinstance(told, dict) else {}
    layout = recognise(file.tensors)
    families = (told["family"],) if "family" in told else layout.families if layout else ()
    specs = [spec for spec in REGISTRY.values() if spec.family in families]
    return sorted(specs, key=lambda spec: spec.name != told.get("name"))
