# SPDX-License-Identifier: Apache-2.0
"""The one kind of error that is the user's to mend."""


class DpmError(Exception):
    """Bad input, said in one line: the thing, what was expected, and the way out. Commands print it and exit with 2."""
