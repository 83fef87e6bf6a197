# SPDX-License-Identifier: Apache-2.0
"""Memory that tensors free on the CPU, kept by the process for those that come next.

A window's temporaries are tens of megabytes each and the same for every window. The GNU C library hands blocks of that
size back to the system when they are freed and has them mapped, page by page, and zeroed for the next tensor.
"""

from __future__ import annotations

import ctypes
import os

# mallopt(3). The numbers are part of the library's ABI.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGEST = 2**31 - 1
OWN_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Have the C library keep what is freed, for the whole process and from now on.

    One arena for all threads that are yet to come: others are bounded, and hand large blocks back regardless. So it is
    to be called before libraries make theirs.
    Whoever set the C library's own environment variables has chosen, and is left alone.

    Returns:
        Whether it does: not where the C library is another than GNU's, or was told otherwise.
    """
    if any(name in os.environ for name in OWN_SETTINGS):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    wanted = {_M_MMAP_THRESHOLD: _LARGEST, _M_TRIM_THRESHOLD: _LARGEST, _M_ARENA_MAX: 1}
    return all(mallopt(option, value) for option, value in wanted.items())
