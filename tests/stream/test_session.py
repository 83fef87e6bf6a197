# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import oracle
import pytest
import torch
from oracle import OracleEngine, frame

from dpm_core.errors import DpmError
from dpm_core.geometry.fit import Fit
from dpm_core.stream import PredictionError, RepeatedStampError, Session, SessionConfig


def session(window=4, **config):
    engine = OracleEngine()
    return engine, Session(engine, SessionConfig(window=window, **config))


def test_poses_of_many_windows_are_one_trajectory_in_one_unit():
    _, stream = session()
    for index in range(12):
        estimate = stream.process(frame(index))
        expected = np.linalg.inv(oracle.world_from_camera(0)) @ oracle.world_from_camera(index)
        np.testing.assert_allclose(estimate.world_from_camera, expected, atol=1e-4)


def test_depth_is_in_the_unit_of_the_map():
    _, stream = session()
    for index in range(6):
        estimate = stream.process(frame(index))
        np.testing.assert_allclose(estimate.depth, oracle.depth(index), rtol=1e-4)


def test_what_moves_is_dynamic_and_has_its_velocity():
    _, stream = session()
    for index in range(6):
        estimate = stream.process(frame(index))
    assert estimate.motion_known
    np.testing.assert_array_equal(estimate.dynamic, oracle.MOVING)
    in_map = np.linalg.inv(oracle.world_from_camera(0))[:3, :3] @ oracle.VELOCITY
    np.testing.assert_allclose(estimate.scene_flow[oracle.MOVING], np.broadcast_to(in_map, (64, 3)), atol=1e-3)
    np.testing.assert_allclose(estimate.scene_flow[~oracle.MOVING], 0, atol=1e-3)


def test_a_network_s_own_mask_counts_where_it_has_a_head_for_it():
    engine, stream = session()
    seen = np.roll(oracle.MOVING, 5, axis=1)
    good = engine.predict

    def with_mask_head(tokens, *args):
        logit = torch.from_numpy(np.where(seen, 2.0, -2.0)).expand(len(tokens), -1, -1)
        return replace(good(tokens, *args), dynamic_logit=logit)

    engine.predict = with_mask_head
    assert not stream.process(frame(0)).dynamic.any()
    np.testing.assert_array_equal(stream.process(frame(1)).dynamic, seen)


def test_cloud_holds_all_views_at_the_newest_instant():
    _, stream = session(voxel=1e-5)
    for index in range(4):
        estimate = stream.process(frame(index))
    map_from_world = np.linalg.inv(oracle.world_from_camera(0))
    expected = np.concatenate([oracle.points_at(view, 3).reshape(-1, 3) for view in range(4)])
    expected = expected @ map_from_world[:3, :3].T + map_from_world[:3, 3]
    np.testing.assert_allclose(estimate.cloud.points, expected, atol=1e-3)
    moving = np.concatenate([oracle.MOVING.ravel()] * 4)
    np.testing.assert_array_equal(estimate.cloud.dynamic, moving)
    np.testing.assert_array_equal(
        estimate.cloud.colors, np.repeat(np.arange(4), len(expected) // 4)[:, None] + [0, 0, 0]
    )


def test_one_frame_gives_depth_and_says_that_motion_is_unknown():
    _, stream = session()
    estimate = stream.process(frame(0))
    assert not estimate.motion_known
    assert not estimate.dynamic.any()
    assert np.isnan(estimate.scene_flow).all()
    assert np.isfinite(estimate.depth).all()


def test_every_frame_is_encoded_once_and_windows_hold_the_newest():
    engine, stream = session(window=3)
    for index in range(5):
        stream.process(frame(index))
    assert engine.encoded == [0, 1, 2, 3, 4]
    assert engine.windows == [[0], [0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4]]


def test_estimates_carry_the_frame_s_own_stamp_and_camera():
    _, stream = session()
    estimate = stream.process(frame(0, stamp_ns=1_700_000_000_123_456_789, frame_id="left_optical"))
    assert (estimate.stamp_ns, estimate.frame_id) == (1_700_000_000_123_456_789, "left_optical")


def test_after_a_gap_the_window_starts_anew_and_the_map_goes_on():
    engine, stream = session(max_gap_s=0.5)
    for index in range(4):
        before = stream.process(frame(index))
    after = stream.process(frame(20))
    assert engine.windows[-1] == [20]
    np.testing.assert_allclose(after.world_from_camera, before.world_from_camera, atol=1e-4)
    ratio = np.median(after.depth) / np.median(oracle.depth(20))
    assert ratio == pytest.approx(
        engine.unit(4) / engine.unit(3), rel=1e-3
    )  # the unit of the last window is all we have


def test_another_image_size_starts_the_window_anew():
    engine, stream = session()
    stream.process(frame(0))
    smaller = stream.process(frame(1, image=np.full((oracle.HEIGHT, 30, 3), 1, np.uint8)))
    assert engine.windows[-1] == [1]
    assert smaller.depth.shape == (oracle.HEIGHT, 30)


def test_time_going_back_begins_a_new_map():
    engine, stream = session()
    for index in range(3):
        stream.process(frame(index))
    looped = stream.process(frame(0))
    assert engine.windows[-1] == [0]
    np.testing.assert_allclose(looped.world_from_camera, np.eye(4), atol=1e-6)


def test_a_repeated_stamp_is_left_out_and_changes_nothing():
    engine, stream = session()
    stream.process(frame(0))
    with pytest.raises(RepeatedStampError, match="1000000000 ns"):
        stream.process(frame(5, stamp_ns=frame(0).stamp_ns))
    stream.process(frame(1))
    assert engine.windows[-1] == [0, 1]


@pytest.mark.parametrize(
    ("part", "entry", "value", "message"),
    [
        ("world_from_camera", (-1, 0, 3), torch.nan, "oracle gave a camera that is not finite"),
        ("intrinsics", (0, 1, 1), 0.0, "oracle gave a camera without a focal length"),
    ],
)
def test_a_camera_that_cannot_be_is_refused_and_the_session_recovers(part, entry, value, message):
    engine, stream = session()
    stream.process(frame(0))
    good = engine.predict

    def broken(*args):
        prediction = good(*args)
        getattr(prediction, part)[entry] = value
        return prediction

    engine.predict = broken
    with pytest.raises(PredictionError, match=message):
        stream.process(frame(1))
    engine.predict = good
    assert np.isfinite(stream.process(frame(2)).world_from_camera).all()


def test_a_frame_made_ready_for_an_engine_that_failed_is_made_ready_anew():
    engine, stream = session()
    prepared = stream.prepare(frame(0))
    engine.name, smaller = "the next one", (20, 24)
    engine.fit = lambda height, width: Fit((height, width), (height, width), (0, 0), smaller)
    assert stream.estimate(stream.predict(prepared)).depth.shape == smaller


def test_points_without_confidence_stay_out_of_the_cloud():
    _, stream = session(min_confidence=3.5)
    assert len(stream.process(frame(0)).cloud.points) == 0


def test_thresholds_change_between_frames_but_not_the_window():
    _, stream = session(window=4)
    stream.configure(SessionConfig(window=4, min_confidence=99))
    assert len(stream.process(frame(0)).cloud.points) == 0
    with pytest.raises(DpmError, match="window cannot change from 4 to 5"):
        stream.configure(SessionConfig(window=5))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(window=0), "window is 0"),
        (dict(dynamic_factor=-1), "dynamic_factor is -1"),
        (dict(voxel=float("nan")), "voxel is nan"),
        (dict(voxel=0), "voxel is 0"),
    ],
)
def test_configuration_says_what_is_wrong(wrong, message):
    with pytest.raises(DpmError, match=message):
        SessionConfig(**wrong)
