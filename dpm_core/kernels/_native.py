# SPDX-License-Identifier: Apache-2.0
"""How the native module is called: tensors as DLPack capsules, and the stream they are used on."""

from collections.abc import Callable
from typing import Any

import torch  # first, so that one OpenMP runtime serves both
from torch import Tensor
from torch.utils.dlpack import to_dlpack  # type: ignore[attr-defined]

try:
    from . import _kernels
except ImportError as error:
    raise ImportError(
        f"the native kernels cannot be loaded ({error}): build them with `python setup.py build_ext --inplace`"
    ) from error

__all__ = ["call", "native", "to_dlpack"]

native = _kernels


def call(kernel: Callable[..., Any], first: Tensor, *others: Tensor | object) -> Any:
    """Run a kernel on the device and current stream of `first`; tensors become capsules."""
    stream = torch.cuda.current_stream(first.device).cuda_stream if first.is_cuda else 0
    capsules = [to_dlpack(other) if isinstance(other, Tensor) else other for other in others]
    return kernel(to_dlpack(first), *capsules, stream)
