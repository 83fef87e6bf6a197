# SPDX-License-Identifier: Apache-2.0
# The module that csrc/python builds. Its functions check nothing: dpm_core.kernels is their typed face.
from typing import Any

BUILT_WITH_CUDA: bool

def __getattr__(name: str) -> Any: ...
