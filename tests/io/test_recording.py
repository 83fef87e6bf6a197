# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from estimates import PERIOD, STAMP, estimate

from dpm_core.io.recording import TIMELINE, Recording

chunk_reader = pytest.importorskip("rerun.chunk")


@pytest.fixture
def rows(tmp_path):
    """What a reader of the file finds."""
    recording = Recording(tmp_path / "a.rrd")
    for index in range(3):
        recording.add(estimate(index))
    recording.close()
    return Rows(tmp_path / "a.rrd")


class Rows:
    def __init__(self, path):
        self.path = path
        self.chunks = list(chunk_reader.RrdReader(str(path)).stream())

    def stamps(self, entity):
        found = set()
        for chunk in self.chunks:
            batch = chunk.to_record_batch()
            if chunk.entity_path == f"/{entity}" and TIMELINE in batch.schema.names:
                found |= {int(value) for value in batch.column(TIMELINE).cast("int64").to_pylist()}
        return sorted(found)


@pytest.mark.parametrize(
    "entity",
    [
        "map/camera",
        "map/camera/image",
        "map/camera/depth",
        "map/camera/moving",
        "map/points/static",
        "map/points/moving",
        "map/path",
        "map/tracks",
    ],
)
def test_everything_is_at_the_stamps_of_the_frames(rows, entity):
    assert rows.stamps(entity) == [STAMP + index * PERIOD for index in range(3)]


def test_the_map_is_there_where_it_changed_much(rows):
    assert rows.stamps("map/still") == [STAMP + index * PERIOD for index in (1, 2)], "the first one is empty"


def test_is_complete(rows):
    assert rows.path.stat().st_size > 0
    assert np.frombuffer(rows.path.read_bytes()[:4], np.uint8).tobytes() in (b"RRF2", b"RRIO", b"RRF3")
