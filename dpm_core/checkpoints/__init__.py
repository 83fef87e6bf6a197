# SPDX-License-Identifier: Apache-2.0
"""Published files to our networks: the registry, reading without running, strict loading, download, conversion."""

from .loading import LoadedNetwork, load_network
from .registry import REGISTRY, NetworkSpec, find_spec

__all__ = ["REGISTRY", "LoadedNetwork", "NetworkSpec", "find_spec", "load_network"]
