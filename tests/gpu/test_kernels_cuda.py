# SPDX-License-Identifier: Apache-2.0
"""The kernels on CUDA give what they give on the CPU: the same functors, compiled without fused multiply-add."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dpm_core import kernels
from dpm_core.kernels._native import native

pytestmark = pytest.mark.skipif(not native.BUILT_WITH_CUDA, reason="the kernels were built without CUDA")

views = st.tuples(st.integers(0, 3), st.integers(1, 70), st.integers(1, 300))
seeds = st.integers(0, 2**32 - 1)
some = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def numbers(seed, *shape, holes=0.05, scale=1.0):
    random = np.random.default_rng(seed)
    values = random.normal(0, scale, shape).astype(np.float32)
    values[random.random(shape) < holes] = np.nan
    values[random.random(shape) < holes / 4] = np.inf
    return torch.from_numpy(values)


def levels(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


def cameras(seed, count):
    random = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(random.standard_normal((count, 3, 3)))
    pose = torch.eye(4).repeat(count, 1, 1)
    pose[:, :3, :3] = torch.from_numpy(rotation)
    pose[:, :3, 3] = torch.from_numpy(random.normal(0, 1, (count, 3)))
    intrinsics = torch.tensor([[90, 0, 31.5], [0, 80, 23.5], [0, 0, 1.0]]).repeat(count, 1, 1)
    return intrinsics, pose


def cloud(seed, size):
    random = np.random.default_rng(seed)
    return (
        numbers(seed, size, 3),
        levels(seed, size, 3),
        numbers(seed + 1, size).abs() * 5,
        numbers(seed + 2, size, 3),
        torch.from_numpy(random.random(size) < 0.4),
    )


def poison():
    """Fills what the allocator hands out next, so that an element nobody wrote is seen."""
    for size in (1 << 12, 1 << 16, 1 << 20, 1 << 22):
        torch.full((size,), 0xAB, dtype=torch.uint8, device="cuda")


def both(function, *arguments, **options):
    """The results on the CPU and on CUDA, as flat lists of CPU tensors."""
    poison()
    moved = [a.cuda() if isinstance(a, torch.Tensor) else a for a in arguments]
    results = []
    for given_arguments in (arguments, moved):
        result = function(*given_arguments, **options)
        results.append([r.cpu() if isinstance(r, torch.Tensor) else r for r in _parts(result)])
    return results


def _parts(result):
    return list(result) if isinstance(result, tuple) else [result]


def assert_same(results):
    for on_cpu, on_cuda in zip(*results, strict=True):
        if isinstance(on_cpu, torch.Tensor):
            torch.testing.assert_close(on_cuda, on_cpu, rtol=0, atol=0, equal_nan=True)
        else:
            assert on_cuda == on_cpu


@some
@given(
    seed=seeds,
    frames=st.integers(0, 2),
    height=st.integers(1, 80),
    width=st.integers(1, 80),
    resized=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    origin=st.tuples(st.integers(-20, 20), st.integers(-20, 20)),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    channels=st.sampled_from(["rgb", "bgr", "rgba", "bgra", "mono"]),
    dtype=st.sampled_from([torch.float32, torch.float16]),
)
def test_prepare_images(seed, frames, height, width, resized, origin, size, channels, dtype):
    images = levels(seed, frames, height, width, {"rgba": 4, "bgra": 4, "mono": 1}.get(channels, 3))
    options = dict(channels=channels, dtype=dtype, mean=(0.5, 0.4, 0.3), std=(0.5, 0.2, 0.1), filter="lanczos")
    assert_same(both(kernels.prepare_images, images, resized, origin, size, **options))


def test_prepare_images_with_rows_apart():
    images = levels(0, 2, 40, 60, 3).cuda()[:, :, :50]
    box = kernels.prepare_images(images, (20, 25), (0, 0), (20, 25))
    expected = kernels.prepare_images(images.cpu().contiguous(), (20, 25), (0, 0), (20, 25))
    torch.testing.assert_close(box.cpu(), expected, rtol=0, atol=0)


@some
@given(seed=seeds, size=views)
def test_unproject_depth(seed, size):
    assert_same(both(kernels.unproject_depth, numbers(seed, *size), *cameras(seed, size[0])))


@some
@given(seed=seeds, size=views)
def test_camera_depth(seed, size):
    _, pose = cameras(seed, size[0])
    assert_same(both(kernels.camera_depth, numbers(seed, *size, 3), pose))


@some
@given(seed=seeds, size=views, timed=st.booleans())
def test_scene_flow(seed, size, timed):
    points, moved = numbers(seed, *size, 3), numbers(seed + 1, *size, 3)
    if not timed:
        return assert_same(both(kernels.scene_flow, points, moved))
    seconds = torch.linspace(0, 1, size[0])
    results = [[kernels.scene_flow(points.to(d), moved.to(d), seconds=seconds.to(d)).cpu()] for d in ("cpu", "cuda")]
    return assert_same(results)


@some
@given(
    seed=seeds,
    size=views,
    factor=st.sampled_from([0.0, 0.4, 1.0, 3.0]),
    holes=st.sampled_from([0.0, 0.1, 1.0]),
    constant=st.booleans(),
)
def test_pointmap_dynamic_mask_median(seed, size, factor, holes, constant):
    points = numbers(seed, *size, 3, holes=holes)
    moved = points + (0.5 if constant else numbers(seed + 1, *size, 3, holes=holes))
    assert_same(both(kernels.pointmap_dynamic_mask, moved, points, factor=factor, floor=0.1))


@some
@given(seed=seeds, size=views)
def test_pointmap_dynamic_mask_mean(seed, size):
    moved, points = numbers(seed, *size, 3), numbers(seed + 1, *size, 3)
    assert_same(both(kernels.pointmap_dynamic_mask, moved, points, factor=0.5, statistic="mean"))


def test_pointmap_dynamic_mask_of_a_window():
    points = numbers(0, 8, 392, 518, 3)
    assert_same(both(kernels.pointmap_dynamic_mask, points + 0.01 * numbers(1, 8, 392, 518, 3), points))


@some
@given(seed=seeds, size=views)
def test_flow_dynamic_mask(seed, size):
    intrinsics, pose = cameras(seed, size[0])
    flow, depth = numbers(seed, *size, 2, scale=20), numbers(seed + 1, *size)
    assert_same(both(kernels.flow_dynamic_mask, flow, depth, intrinsics, pose, threshold=30.0))


@some
@given(seed=seeds, size=views)
def test_occlusion_mask(seed, size):
    forward, backward = numbers(seed, *size, 2, scale=3), numbers(seed + 1, *size, 2, scale=3)
    assert_same(both(kernels.occlusion_mask, forward, backward, threshold=2.0))


@some
@given(seed=seeds, size=st.integers(0, 5000), voxel=st.sampled_from([0.05, 0.5, 3.0, 1e-7, 1e9]))
def test_fuse_points(seed, size, voxel):
    assert_same(both(kernels.fuse_points, *cloud(seed, size), voxel=voxel))


def test_fuse_points_of_a_window():
    arrays = cloud(3, 1_624_448)
    assert_same(both(kernels.fuse_points, *arrays, voxel=0.05))


@some
@given(seed=seeds, size=st.integers(0, 3000), organized=st.booleans(), absent=st.sets(st.integers(1, 4)))
def test_pack_cloud(seed, size, organized, absent):
    arrays = [None if k in absent else array for k, array in enumerate(cloud(seed, size))]
    assert_same(both(kernels.pack_cloud, *arrays, organized=organized))


def test_pack_cloud_of_a_window():
    assert_same(both(kernels.pack_cloud, *cloud(4, 1_624_448)))


@pytest.mark.parametrize("pinned", [False, True])
def test_pack_cloud_into_host_memory(pinned):
    points, colors, *_ = cloud(5, 5000)
    out = torch.zeros(5000 * 16, dtype=torch.uint8, pin_memory=pinned)
    packed = kernels.pack_cloud(points.cuda(), colors.cuda(), out=out)
    assert packed.data_ptr() == out.data_ptr()
    assert torch.equal(packed, kernels.pack_cloud(points, colors))


@some
@given(seed=seeds, size=st.integers(0, 5000), loss=st.sampled_from([None, "huber", "cauchy"]))
def test_sim3_moments(seed, size, loss):
    source, _, weight, target, _ = cloud(seed, size)
    options = dict(estimate=torch.eye(4), radius=0.5, loss=loss) if loss else {}
    for on_cpu, on_cuda in zip(*both(kernels.sim3_moments, source, target, weight, **options), strict=True):
        torch.testing.assert_close(on_cuda, on_cpu, rtol=1e-9, atol=1e-12, equal_nan=True)


@some
@given(seed=seeds, size=st.integers(0, 5000))
def test_sim3_residuals(seed, size):
    source, _, weight, target, _ = cloud(seed, size)
    assert_same(both(kernels.sim3_residuals, source, target, weight, estimate=torch.eye(4)))


@some
@given(seed=seeds, size=st.integers(0, 5000))
def test_project_zbuffer(seed, size):
    intrinsics, pose = cameras(seed, 1)
    points, results = cloud(seed, size)[0], []
    for device in ("cpu", "cuda"):
        buffer = kernels.project_zbuffer(points.to(device), pose[0], intrinsics[0], size=(48, 64))
        results.append([part.cpu() for part in buffer])
    assert_same(results)


@some
@given(seed=seeds, size=st.integers(0, 5000))
def test_seen_through(seed, size):
    intrinsics, pose = cameras(seed, 1)
    points, depth = cloud(seed, size)[0], numbers(seed, 48, 64).abs()
    results = [[kernels.seen_through(points.to(d), depth.to(d), pose[0], intrinsics[0]).cpu()] for d in ("cpu", "cuda")]
    assert_same(results)


def test_a_map_grows_alike():
    frames = [cloud(seed, 4000) for seed in range(3)]
    grown = [kernels.VoxelMap(0.2, 5000, device=device) for device in ("cpu", "cuda")]
    for frame in frames:
        for one in grown:
            one.add(*(array.to(one.cells.points.device) for array in frame))
    assert_same([[part.cpu() for part in one.cells[:6]] for one in grown])
    assert grown[0].dropped == grown[1].dropped


def test_work_is_queued_on_the_current_stream():
    points = torch.rand(4, 300, 400, 3, device="cuda")
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        moved = points * 2
        flow = kernels.scene_flow(points, moved)
        assert not stream.query()  # still asleep: the call did not wait
    stream.synchronize()
    torch.testing.assert_close(flow, points, rtol=1e-6, atol=1e-6)


def test_calls_without_waiting_can_be_captured():
    depth, (intrinsics, pose) = torch.rand(2, 30, 40, device="cuda"), (m.cuda() for m in cameras(0, 2))
    kernels.unproject_depth(depth, intrinsics, pose)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        points = kernels.unproject_depth(depth, intrinsics, pose)
    depth.mul_(2)
    graph.replay()
    torch.testing.assert_close(points, kernels.unproject_depth(depth, intrinsics, pose), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: kernels.scene_flow(p, p.cpu()), "moved is on cpu, points on cuda:0"),
        (lambda p: kernels.scene_flow(p, p.double()), r"moved must be torch\.float32"),
        (lambda p: kernels.scene_flow(p, p[:, ::2]), r"moved must be \[S H W 3\]"),
        (lambda p: kernels.camera_depth(p, torch.full((1, 4, 4), torch.nan, device="cuda")), "must be finite"),
        (lambda p: kernels.pointmap_dynamic_mask(p, p, factor=-1), "factor must be finite and >= 0"),
        (lambda p: kernels.pack_cloud(p.view(-1, 3), out=torch.empty(999, dtype=torch.uint8, device="cuda")[1:]),
         "out must begin at a multiple of 16 bytes"),
        (lambda p: kernels.project_zbuffer(p.view(-1, 3), torch.eye(4).cuda(), torch.eye(3), size=(2, 2)),
         "world_from_camera must be on the CPU"),
    ],
)  # fmt: skip
def test_a_rejected_call_leaves_the_gpu_usable(call, message):
    points = torch.ones(1, 4, 5, 3, device="cuda")
    with pytest.raises((TypeError, ValueError), match=message):
        call(points)
    torch.cuda.synchronize()
    assert kernels.scene_flow(points, points).sum().item() == 0
