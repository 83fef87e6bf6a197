# SPDX-License-Identifier: Apache-2.0
"""Torch on a CPU that multiplies bfloat16: the trunk in bfloat16, heads in float32."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..errors import DpmError
from .export_precision import narrow
from .torch_engine import TorchEngine

if TYPE_CHECKING:
    from ..checkpoints import LoadedNetwork

CPUINFO = Path("/proc/cpuinfo")
UNITS = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512"}
"""What multiplies bfloat16, by the kernel's flag of it, the fastest first."""


class TorchBf16Engine(TorchEngine):
    """The network in the precision that the authors ran it in, on the CPU. See `Engine` for the methods.

    It is `TorchCudaEngine`'s cut (`export_precision`): the trunk's matrices and attention are bfloat16; norms, softmax,
    the residual stream and heads stay float32.
    """

    def __init__(self, loaded: LoadedNetwork) -> None:
        """Take a network over; its trunk becomes bfloat16, in place.

        Raises:
            DpmError: the CPU has nothing that multiplies bfloat16.
        """
        units = bfloat16_units()
        if units is None:
            raise DpmError(
                "backend 'torch-bf16' wants a CPU that multiplies bfloat16 (AMX or AVX-512 BF16), and this one does "
                "not: it would be slower than float32; use --backend torch"
            )
        narrow(loaded.network, "bf16")
        super().__init__(loaded, torch.device("cpu"))
        self.name = f"{loaded.spec.name} (torch {torch.__version__.split('+')[0]}, bf16 by {units}, cpu)"


def bfloat16_units() -> str | None:
    """What multiplies bfloat16 here, in words; None where nothing does, or the system does not tell."""
    if not CPUINFO.exists():
        return None
    lines = (line for line in CPUINFO.read_text().splitlines() if line.startswith("flags"))
    flags = next(lines, "").split()
    return next((name for flag, name in UNITS.items() if flag in flags), None)
