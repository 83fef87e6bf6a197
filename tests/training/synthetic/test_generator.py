# SPDX-License-Identifier: Apache-2.0
"""Scenes on demand: reproducible, varied, within their ranges."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from dpm_core.errors import DpmError
from training.records import Window
from training.synthetic import SyntheticConfig, SyntheticScenes
from training.synthetic.atlas import build_atlas
from training.synthetic.compose import compose
from training.synthetic.draws import Draws, pixel_noise, scene_seeds
from training.synthetic.motion import camera_pose, pose
from training.synthetic.preview import contact_sheet
from training.synthetic.render import look_at, tile_bundles
from training.synthetic.sensor import compress, develop, expose, lens, noise

SMALL = SyntheticConfig(height=40, width=56, frames=3)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def stream():
    return SyntheticScenes(SMALL, seed=7)


def assert_same(one, other):
    for field in fields(Window):
        a, b = getattr(one, field.name), getattr(other, field.name)
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b, field.name


def test_a_scene_is_the_same_in_any_batch_and_on_any_call(stream):
    together = stream.window([3, 4, 9], visible=True)
    alone = SyntheticScenes(SMALL, seed=7).window([4], visible=True)
    assert alone.names == ("synthetic/7/4",)
    for field in fields(Window):
        a, b = getattr(together, field.name), getattr(alone, field.name)
        if isinstance(a, torch.Tensor):
            # One batch is summed and vectorised in another order than another: the last bits may differ.
            close = torch.isclose(a[1:2].double(), b.double(), rtol=1e-4, atol=1e-4)
            assert close.double().mean() > 0.999, field.name


def test_the_same_call_gives_the_same_bits(stream):
    assert_same(stream.window([3, 5]), stream.window([3, 5]))


def test_parameters_of_a_scene_do_not_depend_on_the_batch():
    seeds = scene_seeds(1, torch.arange(5))
    together, alone = compose(seeds, SMALL), compose(seeds[2:3], SMALL)
    found = []
    together.take(slice(2, 3)).map(lambda x: found.append(x) or x)
    alone.map(lambda x: torch.testing.assert_close(found.pop(0), x, rtol=1e-12, atol=1e-12) or x)
    assert not found


def test_seeds_and_numbers_make_different_scenes(stream):
    images = stream.window([0, 1]).images
    other = SyntheticScenes(SMALL, seed=8).window([0]).images
    assert (images[0] - images[1]).abs().mean() > 0.05
    assert (images[0] - other[0]).abs().mean() > 0.05


def test_a_window_holds_what_the_record_promises(stream):
    window = stream.window([0, 1, 2], times=[2, 0], visible=True)
    assert window.times == (2, 0)
    assert window.points.shape == (3, 2, 3, 40, 56, 3)
    assert window.visible.shape == (3, 2, 3, 40, 56)
    for field in fields(Window):
        value = getattr(window, field.name)
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            assert value.isfinite().all(), field.name
    assert 0 <= window.images.min() < window.images.max() <= 1
    assert not (window.visible & ~window.valid).any()
    assert ((window.depth > 0) == window.valid[:, 0]).all()
    assert (window.seconds.diff(dim=1) > 0).all()


def test_asked_times_are_a_choice_of_all_times(stream):
    every, some = stream.window([1]), stream.window([1], times=[2, 0])
    assert torch.equal(every.points[:, [2, 0]], some.points)
    assert torch.equal(every.flow[:, [2, 0]], some.flow)
    assert torch.equal(every.dynamic, some.dynamic)


def test_the_reference_camera_can_be_any_view(stream):
    window = stream.window([0, 1])
    seen = window.in_camera(1)
    torch.testing.assert_close(seen.world_from_camera[:, 1], torch.eye(4).expand(2, 4, 4), rtol=0, atol=1e-5)
    rebuilt, valid = seen.own_points()
    torch.testing.assert_close(rebuilt[:, 2][valid[:, 2]], seen.points[:, 2, 2][valid[:, 2]], rtol=1e-4, atol=1e-4)


def test_images_of_any_size_and_a_single_frame(stream):
    window = stream.window([0], frames=1, height=27, width=33)
    assert window.images.shape == (1, 1, 3, 27, 33)
    assert not window.dynamic.any()


def test_scenes_vary_in_everything():
    scenes = compose(scene_seeds(0, torch.arange(300)), SyntheticConfig())
    assert set(scenes.surroundings.kind.tolist()) == {0, 1, 2}
    assert set(scenes.parts.kind.unique().tolist()) == {-1, 0, 1, 2, 3, 4}
    assert set(scenes.look.pattern.unique().tolist()) == set(range(9))
    nothing_moves = ~scenes.parts.moving.any(1)
    assert 0.08 < nothing_moves.float().mean() < 0.25
    poses = camera_pose(scenes.camera, scenes.seconds)
    still = (poses - poses[:, :1]).abs().amax((1, 2, 3)) == 0
    turning = ~still & ((poses[..., :3, 3] - poses[:, :1, :3, 3]).abs().amax((1, 2)) == 0)
    assert 0.05 < still.float().mean() < 0.16
    assert 0.02 < turning.float().mean() < 0.12
    view = 2 * torch.atan(0.5 / scenes.camera.focal[:, 0]) * 180 / math.pi
    assert view.min() >= 40
    assert view.max() <= 95


def test_the_camera_is_good_and_bad():
    """Blur, noise, exposure, compression and the time between frames, each from nearly none to much."""
    scenes = compose(scene_seeds(0, torch.arange(300)), SyntheticConfig())
    sensor = scenes.sensor
    assert sensor.exposure.min() < 0.65
    assert sensor.exposure.max() > 1.6
    assert sensor.blur.min() < 0.3
    assert sensor.blur.max() > 0.95
    assert sensor.shutter.max() / sensor.shutter.min() > 15
    assert sensor.shot.max() / sensor.shot.min() > 8
    assert sensor.quality.max() > 2.5
    assert 0.2 < (sensor.quality == 0).float().mean() < 0.4
    gaps = scenes.seconds.diff(dim=1).mean(1)
    assert gaps.min() < 0.04
    assert gaps.max() > 0.25
    perfect = compose(scene_seeds(0, torch.arange(5)), SyntheticConfig(degradation=0.0)).sensor
    for flaw in (perfect.shutter, perfect.shot, perfect.read, perfect.rows, perfect.vignette, perfect.quality):
        assert not flaw.any()


def test_from_nothing_to_most_of_the_picture_moves_and_cameras_from_not_at_all_to_far():
    window = SyntheticScenes(replace(SMALL, height=16, width=24, samples=1), seed=1).window(range(60), times=(0,))
    moves = window.dynamic.flatten(1).float().mean(1)
    assert 0.08 < (moves == 0).float().mean() < 0.35
    assert (moves > 0.15).float().mean() > 0.1
    assert moves.max() > 0.4
    eyes = window.world_from_camera[:, :, :3, 3]
    parallax = (eyes - eyes[:, :1]).norm(dim=-1).amax(1) / window.depth.flatten(1).median(1).values.clamp_min(0.1)
    assert (parallax < 0.005).float().mean() > 0.1
    assert (parallax > 0.1).float().mean() > 0.1


def test_no_camera_is_inside_a_thing_a_wall_or_the_ground():
    scenes = compose(scene_seeds(2, torch.arange(200)), SyntheticConfig())
    eyes = camera_pose(scenes.camera, scenes.seconds)[..., :3, 3]
    posed = pose(scenes, scenes.seconds)
    gap = (posed.translation.unflatten(0, eyes.shape[:2]) - eyes[:, :, None]).norm(dim=-1) - scenes.parts.radius[
        :, None
    ]
    assert gap[(scenes.parts.radius > 0)[:, None].expand_as(gap)].min() > 0.1
    room = scenes.surroundings.kind == 0
    assert (eyes > scenes.surroundings.low[:, None])[room].all()
    assert (eyes < scenes.surroundings.high[:, None])[room].all()
    assert (eyes[scenes.surroundings.kind == 1][..., 2] > 0.5).all()


def test_camera_poses_are_rigid_and_right_handed():
    scenes = compose(scene_seeds(2, torch.arange(50)), SyntheticConfig())
    rotation = camera_pose(scenes.camera, scenes.seconds)[..., :3, :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).double().expand_as(rotation))
    assert (torch.linalg.det(rotation) > 0.99).all()
    assert (rotation[..., 2, 1] < 0).float().mean() > 0.99  # y of the image points down


def test_all_of_a_scene_is_on_the_device_of_its_seeds():
    """Tensors of another device than "meta" would not mix with its own."""
    scenes = compose(torch.empty(2, dtype=torch.int64, device="meta"), SMALL).to(dtype=torch.float32)
    rays = tile_bundles(look_at(scenes, 40, 56))
    light = torch.empty(2, 3, 3, 40, 56, device="meta")
    light = noise(lens(expose(light, scenes.sensor, scenes.seconds), scenes.sensor), scenes.sensor, scenes.seconds)
    images = compress(develop(light), scenes.sensor.quality)
    for made in (rays.direction, images):
        assert made.device.type == "meta"
        assert made.dtype == torch.float32


def test_photographs_are_painted_with(tmp_path):
    cv2 = pytest.importorskip("cv2")
    for index in range(3):
        picture = np.random.default_rng(index).integers(0, 255, (60, 90, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"{index}.png"), picture)
    with_photos, without = build_atlas(tmp_path, CPU), build_atlas(None, CPU)
    assert with_photos.pictures == without.pictures + 3
    one = SyntheticScenes(SMALL, 7, photos=tmp_path).window([0]).images
    assert one.shape == (1, 3, 3, 40, 56)


def test_photographs_that_are_not_there_are_named(tmp_path):
    with pytest.raises(DpmError, match="is not there"):
        build_atlas(tmp_path / "no", CPU)
    with pytest.raises(DpmError, match="holds no image"):
        build_atlas(tmp_path, CPU)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(DpmError, match=r"broken\.jpg cannot be read"):
        build_atlas(tmp_path, CPU)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"frames": 0}, "0 frames"),
        ({"height": 4}, "56×4"),
        ({"period": (0.2, 0.1)}, "period"),
        ({"field_of_view": (0.0, 90.0)}, "field_of_view"),
        ({"rooms": 0.0, "open_ground": 0.0, "hills": 0.0}, "not all 0"),
        ({"still_world": 1.5}, "still_world is 1.5"),
        ({"samples": 0}, "samples is 0"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(change, told):
    with pytest.raises(DpmError, match=told):
        replace(SMALL, **change)


def test_draws_are_even_and_named_once():
    draws = Draws(scene_seeds(0, torch.arange(4)))
    values = draws.uniform("a", 0, 1, 20000)
    torch.testing.assert_close(values.mean(1), torch.full((4,), 0.5).double(), atol=0.01, rtol=0)
    assert abs(float(torch.corrcoef(values)[0, 1])) < 0.03
    normal = draws.normal("b", 20000)
    assert abs(float(normal.mean())) < 0.02
    assert abs(float(normal.std()) - 1) < 0.02
    kinds = draws.choice("c", torch.tensor([1.0, 0.0, 3.0]), 20000)
    assert set(kinds.unique().tolist()) == {0, 2}
    assert abs(float((kinds == 2).double().mean()) - 0.75) < 0.01
    with pytest.raises(ValueError, match="drawn before"):
        draws.uniform("a", 0, 1)


def test_sensor_noise_is_white():
    noise = pixel_noise(torch.tensor([1, 2]), 40_000)
    torch.testing.assert_close(noise.mean(1), torch.zeros(2), atol=0.02, rtol=0)
    torch.testing.assert_close(noise.std(1), torch.ones(2), atol=0.02, rtol=0)
    assert abs(float((noise[0, 1:] * noise[0, :-1]).mean())) < 0.02
    assert abs(float((noise[0] * noise[1]).mean())) < 0.02


def test_compression_leaves_flat_blocks_and_none_leaves_all():
    images = torch.rand(2, 1, 3, 20, 24)
    images[:, :, :, :8, :8] = 0.5
    packed = compress(images, torch.tensor([0.0, 2.0]))
    assert torch.equal(packed[0], images[0])
    assert 0.01 < (packed[1] - images[1]).abs().mean() < 0.2
    torch.testing.assert_close(packed[1, 0, :, :8, :8], images[1, 0, :, :8, :8], atol=0.02, rtol=0)


def test_a_contact_sheet_shows_a_scene_a_row(stream):
    assert contact_sheet(stream.window([0, 1])).shape == (80, 6 * 56, 3)
