# SPDX-License-Identifier: Apache-2.0
"""`python -m dpm_core.cli` is the command `dpm`."""

import sys

from . import main

sys.exit(main())
