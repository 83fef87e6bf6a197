# SPDX-License-Identifier: Apache-2.0
"""Messages that nobody meant: every field is what its type allows, and mostly nonsense."""

import array

import numpy as np
from geometry_msgs.msg import TransformStamped
from rosidl_parser.definition import AbstractString, NamespacedType

NUMBERS = (0.0, -0.0, 1.0, -1.0, 1e-300, 1e300, float("inf"), float("-inf"), float("nan"), 1e9)
WORDS = ("", "camera", "base_link", "odom", "/", "map", "rgb8", "32FC1", "16UC1", "bayer_rggb8", "plumb_bob", "\n" * 9)
BITS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64, "uint8": 8, "octet": 8, "uint16": 16, "uint32": 32}


def random_message(random, kind):
    """A message of this class. random: a numpy generator."""
    message = kind()
    for field, slot in zip(message.get_fields_and_field_types(), kind.SLOT_TYPES, strict=True):
        setattr(message, field, _value(random, slot, getattr(message, field)))
    return message


def _value(random, slot, default):
    if hasattr(slot, "value_type"):
        fixed = getattr(slot, "size", None)
        return _items(random, slot.value_type, default, random.integers(0, 40) if fixed is None else fixed)
    if isinstance(slot, NamespacedType):
        return random_message(random, type(default))
    if isinstance(slot, AbstractString):
        return str(random.choice(WORDS))
    if slot.typename == "boolean":
        return bool(random.integers(2))
    if slot.typename in ("float", "double"):
        return float(random.choice(NUMBERS))
    return _integer(random, slot.typename)


def _items(random, kind, default, length):
    if isinstance(default, array.array):
        values = [_value(random, kind, None) for _ in range(length)]
        return array.array(default.typecode, values)
    if isinstance(default, np.ndarray):
        return np.array([_value(random, kind, None) for _ in range(length)], default.dtype)
    return [random_message(random, TransformStamped) for _ in range(length)]  # the only messages in a sequence here


def _integer(random, name):
    """Small ones more often than others."""
    bits = BITS[name]
    least, most = (0, 2**bits - 1) if name.startswith(("u", "o")) else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return int(random.choice([0, 1, 2, 24, 32, 96, least, most])) if bits > 8 else int(random.integers(least, most + 1))
