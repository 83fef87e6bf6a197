# SPDX-License-Identifier: Apache-2.0
"""Run a network on what the machine has, behind one protocol."""

from .choice import BACKENDS, open_engine
from .protocol import Engine
from .torch_engine import TorchEngine

__all__ = ["BACKENDS", "Engine", "TorchEngine", "open_engine"]
