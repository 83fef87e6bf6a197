# SPDX-License-Identifier: Apache-2.0
"""A TensorRT that runs on the CPU: what the adapter calls to run a plan, as NVIDIA's Python reference documents it.

Its plans are JSON. Running one reads the inputs at their bound addresses and writes sums of them to the outputs, so
that a wrong address, shape or type shows. It is no proof that the real library does the same: tests/gpu asks that.
"""

import ctypes
import enum
import json
from contextlib import contextmanager
from types import ModuleType

import numpy as np

from dpm_core.engines.tensorrt_library import Library


class TensorIOMode(enum.Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class Severity(enum.Enum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


class ILogger:
    Severity = Severity


class DataType(enum.Enum):
    FLOAT = np.float32
    HALF = np.float16
    INT32 = np.int32
    INT64 = np.int64
    BOOL = np.bool_


def plan(inputs, outputs, **says):
    """A plan's bytes. inputs, outputs: {name: (shape, DataType name)}; says: what the library does otherwise."""
    return json.dumps({"inputs": inputs, "outputs": outputs, **says}).encode()


class Runtime:
    def __init__(self, logger):
        self.logger = logger

    def deserialize_cuda_engine(self, content):
        try:
            return Engine(json.loads(bytes(content)), self.logger)
        except ValueError:
            self.logger.log(Severity.ERROR, "Serialization assertion failed: magic tag does not match")
            return None


class Engine:
    device_memory_size_v2 = 3 << 20

    def __init__(self, told, logger):
        self.told, self.logger = told, logger
        self._io = [(TensorIOMode.INPUT, *each) for each in told["inputs"].items()]
        self._io += [(TensorIOMode.OUTPUT, *each) for each in told["outputs"].items()]
        self.num_io_tensors = len(self._io)

    def _find(self, name):
        return next(each for each in self._io if each[1] == name)

    def get_tensor_name(self, index):
        return self._io[index][1]

    def get_tensor_mode(self, name):
        return self._find(name)[0]

    def get_tensor_shape(self, name):
        return tuple(self._find(name)[2][0])

    def get_tensor_dtype(self, name):
        return DataType[self._find(name)[2][1]]

    def create_execution_context(self):
        if self.told.get("no_memory"):
            self.logger.log(Severity.ERROR, "Requested amount of GPU memory could not be allocated")
            return None
        return Context(self)


class Context:
    def __init__(self, engine):
        self.engine, self.addresses = engine, {}

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return True

    def is_stream_capturable(self, stream):
        return not self.engine.told.get("not_recordable")

    def execute_async_v3(self, stream_handle):
        if self.engine.told.get("fails"):
            self.engine.logger.log(Severity.ERROR, "an illegal memory access was encountered")
            return False
        total = sum(float(self._array(name).astype(np.float64).sum()) for name in self.engine.told["inputs"])
        for count, name in enumerate(self.engine.told["outputs"], start=1):
            self._array(name)[...] = count * total
        return True

    def _array(self, name):
        dtype, shape = self.engine.get_tensor_dtype(name).value, self.engine.get_tensor_shape(name)
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = (ctypes.c_char * size).from_address(self.addresses[name])
        return np.frombuffer(memory, dtype).reshape(shape)


class TimingCache:
    def __init__(self, content):
        self.content = content

    def serialize(self):
        return self.content


class BuilderConfig:
    def create_timing_cache(self, content):
        return None if content == b"damaged" else TimingCache(content)

    def set_timing_cache(self, cache, ignore_mismatch):
        assert not ignore_mismatch
        self.cache = cache
        return True


class FakeStream:
    """Runs at once, and tells what was asked of it."""

    handle = 7

    def __init__(self):
        self.recorded = 0
        self.replayed = 0
        self.ordered = 0

    @contextmanager
    def in_order(self):
        self.ordered += 1
        yield

    def record(self, work):
        self.recorded += 1

        def replay():
            self.replayed += 1
            work()

        return replay


def library(name="tensorrt", version="10.13.3"):
    """One that `tensorrt_library` could have loaded."""
    module = ModuleType(name)
    module.__dict__.update(ILogger=ILogger, Runtime=Runtime, TensorIOMode=TensorIOMode, __version__=version)
    return Library(name, version, module)
