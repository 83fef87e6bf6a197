# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from dpm_core.kernels import VoxelMap, fuse_points


def frame(seed, size=2000):
    random = torch.Generator().manual_seed(seed)
    return (
        torch.rand(size, 3, generator=random),
        torch.randint(0, 256, (size, 3), dtype=torch.uint8, generator=random),
        torch.rand(size, generator=random) + 0.5,
        torch.rand(size, 3, generator=random),
        torch.rand(size, generator=random) > 0.5,
    )


def by_cell(cells, voxel):
    order = np.lexsort(np.floor(cells.points.numpy() / voxel).T)
    return [array.numpy()[order] for array in cells[:6]]


def test_frame_by_frame_is_as_all_at_once():
    frames = [frame(seed) for seed in range(3)]
    grown = VoxelMap(0.1, 10_000)
    for arrays in frames:
        grown.add(*arrays)
    whole = fuse_points(*(torch.cat(arrays) for arrays in zip(*frames, strict=True)), voxel=0.1)
    points, colors, *others = by_cell(grown.cells, 0.1)
    expected_points, expected_colors, *expected_others = by_cell(whole, 0.1)
    np.testing.assert_allclose(points, expected_points, atol=1e-5)
    np.testing.assert_allclose(colors.astype(int), expected_colors.astype(int), atol=2)  # rounded once a frame
    confidence, velocity, _, count = others
    np.testing.assert_allclose(confidence, expected_others[0], rtol=1e-5)
    np.testing.assert_allclose(velocity, expected_others[1], atol=1e-5)
    np.testing.assert_array_equal(count, expected_others[3])


def test_a_full_map_drops_new_cells_and_counts_them():
    grown = VoxelMap(1.0, 3)
    arrays = [array[:2] for array in frame(0)]
    grown.add(torch.tensor([[0.5, 0, 0], [1.5, 0, 0]]), *arrays[1:])
    grown.add(torch.tensor([[2.5, 0, 0], [3.5, 0, 0]]), *arrays[1:])
    assert grown.cells.points[:, 0].tolist() == [0.5, 1.5, 2.5]
    assert grown.dropped == 1


def test_what_a_camera_sees_through_is_forgotten():
    grown = VoxelMap(0.1, 100)
    arrays = [array[:3] for array in frame(0)]
    grown.add(torch.tensor([[0.05, 0.05, 1.05], [0.05, 0.05, 2.05], [0.05, 0.05, -1]]), *arrays[1:])
    intrinsics = torch.tensor([[10, 0, 2], [0, 10, 2], [0, 0, 1.0]])
    removed = grown.remove_seen_through(torch.full((5, 5), 2.0), torch.eye(4), intrinsics)
    assert removed == 1
    assert grown.cells.points[:, 2].tolist() == pytest.approx([2.05, -1])


def test_chosen_cells_are_forgotten():
    grown = VoxelMap(0.1, 1000)
    before = grown.add(*frame(0, 50)).points.clone()
    rows = torch.arange(len(before)) % 3 == 0
    assert grown.remove(rows) == rows.sum()
    assert torch.equal(grown.cells.points, before[~rows])


def test_points_beyond_the_grid_are_counted():
    grown = VoxelMap(1.0, 10)
    arrays = [array[:1] for array in frame(0)]
    grown.add(torch.tensor([[1e30, 0, 0]]), *arrays[1:])
    assert (grown.outside, len(grown.cells.points)) == (1, 0)


def test_a_rejected_frame_leaves_the_map_as_it_was():
    grown = VoxelMap(0.1, 100)
    grown.add(*frame(0, 10))
    before = grown.cells
    with pytest.raises(TypeError, match=r"points must be torch\.float32"):
        grown.add(frame(1)[0].double(), *frame(1)[1:])
    assert grown.cells is before


@pytest.mark.parametrize(("voxel", "capacity"), [(0.0, 10), (-1.0, 10), (float("nan"), 10), (0.1, 0)])
def test_says_what_is_wrong(voxel, capacity):
    with pytest.raises(ValueError, match=r"must be finite and > 0"):
        VoxelMap(voxel, capacity)
