# SPDX-License-Identifier: Apache-2.0
import pytest
import torch


@pytest.fixture
def one_thread():
    """Tiny networks gain nothing from threads, and sums in another order are other sums."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
