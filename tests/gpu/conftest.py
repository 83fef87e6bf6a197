# SPDX-License-Identifier: Apache-2.0
"""Everything here needs a GPU, and says so where there is none."""

import pytest
import torch

HERE = __file__.rsplit("/", 1)[0]


def pytest_collection_modifyitems(items):
    without = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if str(item.path).startswith(HERE):
            item.add_marker(pytest.mark.gpu)
            if not torch.cuda.is_available():
                item.add_marker(without)
