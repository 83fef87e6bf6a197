# SPDX-License-Identifier: Apache-2.0
"""Messages as the bytes that travel (OMG CDR, little endian), for those that hold thousands of small messages.

Of these rclpy makes a Python object each, and then reads their numbers one by one. Here rows of numbers are written at
once. All else is written as the message's own definition says, so that it is right on every ROS distribution; between
fields there are zeros.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

_ENCAPSULATION = b"\x00\x01\x00\x00"  # CDR, little endian, no options
_NUMBERS = {
    "boolean": "?",
    "octet": "B",
    "uint8": "B",
    "int8": "b",
    "uint16": "H",
    "int16": "h",
    "uint32": "I",
    "int32": "i",
    "uint64": "Q",
    "int64": "q",
    "float": "f",
    "double": "d",
}
_PACKING = {code: struct.Struct("<" + code) for code in _NUMBERS.values()}
_ARRAY = re.compile(r"(?P<sequence>sequence<)?(?P<element>[\w/]+)(, \d+>|>|\[\d+\])")

LARGEST = 8
"""Bytes of the largest number: where a piece of a message begins counts up to multiples of this."""


class CdrWriter:
    """Writes one message, or a piece of one.

    begin: where the piece begins, bytes from the beginning of the message, which numbers are aligned to.
    """

    def __init__(self, begin: int = 0) -> None:
        self._begin = begin
        self._written = bytearray()

    @property
    def at(self) -> int:
        """Where the next byte goes, from the beginning of the message."""
        return self._begin + len(self._written)

    def piece(self, written: bytes) -> None:
        """What was written elsewhere, to begin `at` the same multiple of LARGEST."""
        self._written += written

    def number(self, code: str, value: float) -> None:
        """One number, of a code of `struct`."""
        packing = _PACKING[code]
        self._align(packing.size)
        self._written += packing.pack(value)

    def text(self, value: str) -> None:
        """A string."""
        written = value.encode() + b"\x00"
        self.number("I", len(written))
        self._written += written

    def rows(self, numbers: NDArray[Any]) -> None:
        """A sequence of N messages of C numbers of one kind. numbers: [N, C], little endian."""
        self.number("I", len(numbers))
        if numbers.size:
            self._align(numbers.itemsize)
            self._written += numbers.tobytes()

    def message(self, message: Any, fields: Iterable[str] | None = None) -> None:
        """The named fields of a message, in their order; all where none are named."""
        kinds = message.get_fields_and_field_types()
        for name in kinds if fields is None else fields:
            self._field(kinds[name], getattr(message, name))

    def bytes(self) -> bytes:
        """The piece."""
        return bytes(self._written)

    def whole(self) -> bytes:
        """The message, as publishers take it."""
        return _ENCAPSULATION + self._written

    def _field(self, kind: str, value: Any) -> None:
        array = _ARRAY.fullmatch(kind)
        if array is not None:
            if array["sequence"]:
                self.number("I", len(value))
            for element in value:
                self._field(array["element"], element)
        elif kind in _NUMBERS:
            self.number(_NUMBERS[kind], value)
        elif kind.startswith("string"):
            self.text(value)
        else:
            self.message(value)

    def _align(self, size: int) -> None:
        gap = -self.at % size
        if gap:
            self._written += bytes(gap)
