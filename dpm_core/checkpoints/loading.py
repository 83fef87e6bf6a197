# SPDX-License-Identifier: Apache-2.0
"""Weights into networks, strictly: every key, every shape, or a word about the first that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

from ..errors import DpmError
from ..models import initialise
from .configs import config_from_json, first_other
from .constructor import first_difference, parse_constructor, told_sizes
from .download import pulled, sha256
from .files import WeightFile, metadata_json, read_weights
from .layouts import adapt, describe
from .registry import FAMILIES, Network, NetworkSpec, find_spec

METADATA = "dpm"
"""Key of our entry in a safetensors file's metadata: JSON with name, family, config, and where it is from."""


@dataclass(frozen=True)
class LoadedNetwork:
    """A network with weights.

    Attributes:
        network: float32, in evaluation mode.
        spec: its line of the registry, with the configuration of the file where that tells one.
        trained: whether the weights come from training.
        notice: what a user must know of the weights, or None.
    """

    network: Network
    spec: NetworkSpec
    trained: bool
    notice: str | None


def load_network(name: str, weights: Path | None = None, device: str | torch.device = "cpu") -> LoadedNetwork:
    """A named network, ready to run.

    Args:
        name: of the registry.
        weights: a file in place of the published one; its configuration counts where it tells one.
        device: where to put it.

    Raises:
        DpmError: the name is not known, its weights are not here, or they are not this network's.
    """
    spec = find_spec(name)
    path = weights or installed(spec)
    if path is None:
        loaded = _untrained(spec)
    else:
        file = read_weights(Path(path))
        if weights is None and spec.shipped_sha256 is not None:
            _require_shipped(file, spec)
        told = spec_of(file, spec)
        notice = spec.quality if weights is None else None
        loaded = LoadedNetwork(filled(told, file), told, trained=True, notice=notice)
    loaded.network.to(device).eval()
    return loaded


def installed(spec: NetworkSpec) -> Path | None:
    """The file of weights that is on this machine: in the package or pulled. None where a network has none yet.

    Raises:
        DpmError: the network is published and has not been pulled.
    """
    shipped = Path(str(files("dpm_core"))) / "weights" / f"{spec.name}.safetensors"
    if shipped.is_file():
        return shipped
    if spec.published is None:
        return None
    path = pulled(spec.published)
    if path is None:
        how = f"`dpm weights pull {spec.name}`" if spec.published.repository else f"a browser from {spec.published.url}"
        raise DpmError(f"weights of '{spec.name}' are not on this machine; get them with {how}, or give --weights FILE")
    return path


def _require_shipped(file: WeightFile, spec: NetworkSpec) -> None:
    """Refuse a file of the package that is not the registry's.

    Raises:
        DpmError: its checksum or its configuration is another; both values are told.
    """
    digest = sha256(file.path)
    if digest != spec.shipped_sha256:
        raise DpmError(
            f"{file.path} has SHA-256 {digest}, not {spec.shipped_sha256}; install dpm again, "
            f"or give the file by --weights if it is meant"
        )
    if difference := first_other(spec_of(file, spec).config, spec.config):
        raise DpmError(f"{file.path} tells a configuration with {difference}; install dpm again")


def spec_of(file: WeightFile, wanted: NetworkSpec) -> NetworkSpec:
    """The wanted line, with the configuration that the file tells.

    Raises:
        DpmError: the file tells that it is of another family.
    """
    told = metadata_json(file, METADATA)
    if told is None:
        return wanted
    if not isinstance(told, dict) or told.get("family") not in FAMILIES:
        raise DpmError(f"{file.path} does not tell its family; write it anew with `dpm weights convert`")
    if told["family"] != wanted.family:
        raise DpmError(
            f"{file.path} holds weights of {told['family']} ('{told.get('name')}'), "
            f"not of {wanted.family} ('{wanted.name}'); choose --model {told.get('name')}"
        )
    config = config_from_json(told.get("config"))
    if not isinstance(config, FAMILIES[wanted.family].config):
        raise DpmError(
            f"{file.path} tells no configuration of {wanted.family}; write it anew with `dpm weights convert`"
        )
    return replace(wanted, config=config)


def filled(spec: NetworkSpec, file: WeightFile) -> Network:
    """The network of `spec` with the file's weights as float32.

    Raises:
        DpmError: a key is missing, too many, or of another shape.
    """
    network = shell(spec)
    tensors = strict(spec, network, file)
    network.load_state_dict({key: tensor.float() for key, tensor in tensors.items()}, assign=True)
    return network.requires_grad_(True)


def shell(spec: NetworkSpec) -> Network:
    """The network without memory for its weights."""
    with torch.device("meta"):
        return spec.build()


def strict(spec: NetworkSpec, network: Network, file: WeightFile) -> Mapping[str, Tensor]:
    """Exactly the tensors that the network takes, in its order.

    Raises:
        DpmError: see `filled`.
    """
    if file.constructor is not None:
        difference = first_difference(parse_constructor(file.constructor), told_sizes(spec.config))
        if difference is not None:
            raise _wrong(spec, file, difference)
    expected = network.state_dict()
    given = adapt(file.tensors, expected, spec.unused)
    for key, parameter in expected.items():
        if key not in given:
            raise _wrong(spec, file, f"key '{key}' is missing")
        if given[key].shape != parameter.shape:
            shapes = f"{list(given[key].shape)}, not {list(parameter.shape)}"
            raise _wrong(spec, file, f"key '{key}' has shape {shapes}")
    extra = next((key for key in given if key not in expected), None)
    if extra is not None:
        raise _wrong(spec, file, f"key '{extra}' has no place in it")
    return {key: given[key] for key in expected}


def _wrong(spec: NetworkSpec, file: WeightFile, what: str) -> DpmError:
    return DpmError(
        f"{file.path} holds no weights of '{spec.name}' ({spec.family}): {what}; the file seems to be "
        f"{describe(file.tensors)}"
    )


def _untrained(spec: NetworkSpec) -> LoadedNetwork:
    network = shell(spec).to_empty(device="cpu")
    initialise(network, seed=0)
    notice = f"untrained weights: {spec.name} has not been trained yet, so what it says of a scene means nothing"
    return LoadedNetwork(network, spec, trained=False, notice=notice)
