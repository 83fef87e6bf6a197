# SPDX-License-Identifier: Apache-2.0
"""What `dpm bench kernels` runs: each kernel on a window of views, beside the usual Python ways of doing the same."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import kernels

Work = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """One kernel at one size.

    Attributes:
        name: of the kernel, and what is special.
        bytes: what any implementation must read and write once.
        run: the kernel.
        rivals: the same by other means, by name.
        waits: whether the call waits for a GPU, since what it gives depends on the data.
    """

    name: str
    bytes: int
    run: Work
    rivals: dict[str, Work] = field(default_factory=dict)
    waits: bool = False


@dataclass(frozen=True)
class Scene:
    """Random but lifelike inputs: a wavy wall seen by several views, with noise, holes and moving parts.

    Attributes:
        images: [S, 1.2 H, 1.2 W, 3] uint8.
        depth: [S, H, W] float32, network units.
        intrinsics: [S, 3, 3] float32.
        pose: [S, 4, 4] float32, world_from_camera.
        points: [S, H, W, 3] float32.
        moved: [S, H, W, 3] float32.
        flow: [S, H, W, 2] float32.
        colors: [N, 3] uint8, N = S H W, as the others.
        confidence: [N] float32.
        dynamic: [N] bool.
    """

    images: Tensor
    depth: Tensor
    intrinsics: Tensor
    pose: Tensor
    points: Tensor
    moved: Tensor
    flow: Tensor
    colors: Tensor
    confidence: Tensor
    dynamic: Tensor

    @property
    def cloud(self) -> Tensor:
        """[N, 3] float32."""
        return self.points.view(-1, 3)

    @property
    def velocity(self) -> Tensor:
        """[N, 3] float32."""
        return self.moved.view(-1, 3)


def scene(views: int, height: int, width: int, device: torch.device) -> Scene:
    """The same numbers every time, for a size and device."""
    random = torch.Generator().manual_seed(0)
    shape = (views, height, width)
    v, u = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
    noise = torch.randn(shape, generator=random) * 0.002
    depth = 2 + 0.3 * torch.sin(10 * v) + 0.2 * torch.cos(15 * u) + noise
    focal = 0.8 * width
    intrinsics = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]).repeat(views, 1, 1)
    pose = torch.eye(4).repeat(views, 1, 1)
    pose[:, 0, 3] = torch.linspace(-0.1, 0.1, views)
    points = kernels.unproject_depth(depth.contiguous(), intrinsics, pose)
    moved = points + 0.003 * torch.randn(points.shape, generator=random)
    moved[:, : height // 4, : width // 4] += 0.2
    size = math.prod(shape)
    parts = dict(
        images=torch.randint(0, 256, (views, height * 6 // 5, width * 6 // 5, 3), dtype=torch.uint8, generator=random),
        depth=depth,
        intrinsics=intrinsics,
        pose=pose,
        points=points,
        moved=moved,
        flow=torch.randn((*shape, 2), generator=random),
        colors=torch.randint(0, 256, (size, 3), dtype=torch.uint8, generator=random),
        confidence=1 + 5 * torch.rand(size, generator=random),
        dynamic=torch.rand(size, generator=random) < 0.1,
    )
    return Scene(**{name: part.contiguous().to(device) for name, part in parts.items()})


def cases(s: Scene, voxel: float) -> list[Case]:
    """Every kernel on the scene, in the order in which a frame meets them."""
    pixels = s.depth.numel()
    size = (s.depth.shape[1], s.depth.shape[2])
    return [
        Case("prepare_images", s.images.numel() + 12 * pixels, _prepare(s, size), _prepare_rivals(s, size)),
        Case(
            "unproject_depth",
            16 * pixels,
            lambda: kernels.unproject_depth(s.depth, s.intrinsics, s.pose),
            {"torch": lambda: _unproject(s)},
        ),
        Case(
            "camera_depth",
            16 * pixels,
            lambda: kernels.camera_depth(s.points, s.pose),
            {"torch": lambda: ((s.points - s.pose[:, None, None, :3, 3]) * s.pose[:, None, None, :3, 2]).sum(-1)},
        ),
        Case(
            "scene_flow",
            36 * pixels,
            lambda: kernels.scene_flow(s.points, s.moved),
            {"torch": lambda: _finite_difference(s)},
        ),
        Case(
            "pointmap_dynamic_mask median",
            25 * pixels,
            lambda: kernels.pointmap_dynamic_mask(s.moved, s.points),
            {"torch": lambda: _median_mask(s)},
        ),
        Case(
            "pointmap_dynamic_mask mean",
            25 * pixels,
            lambda: kernels.pointmap_dynamic_mask(s.moved, s.points, factor=0.2, statistic="mean"),
            {"torch": lambda: _mean_mask(s)},
        ),
        Case(
            "flow_dynamic_mask",
            13 * pixels,
            lambda: kernels.flow_dynamic_mask(s.flow, s.depth, s.intrinsics, s.pose, threshold=1.0),
            {"torch": lambda: _flow_mask(s)},
        ),
        Case(
            "occlusion_mask",
            17 * pixels,
            lambda: kernels.occlusion_mask(s.flow, s.flow),
            {"torch": lambda: _occlusion(s)},
        ),
        *_cloud_cases(s, voxel),
    ]


def _cloud_cases(s: Scene, voxel: float) -> list[Case]:
    size = len(s.cloud)
    fused = len(kernels.fuse_points(s.cloud, s.colors, s.confidence, s.velocity, s.dynamic, voxel=voxel).points)
    out = torch.empty(32 * size, dtype=torch.uint8, device=s.cloud.device)
    camera = (s.pose[0].cpu(), s.intrinsics[0].cpu())
    image = (s.depth.shape[1], s.depth.shape[2])
    return [
        Case(
            f"fuse_points to {fused} cells",
            32 * size + 36 * fused,
            lambda: kernels.fuse_points(s.cloud, s.colors, s.confidence, s.velocity, s.dynamic, voxel=voxel),
            {**_open3d(s, voxel), "torch": lambda: _fuse(s, voxel)},
            waits=True,
        ),
        Case(
            "pack_cloud 16 bytes",
            31 * size,
            lambda: kernels.pack_cloud(s.cloud, s.colors, out=out),
            {"copy of the output": _copy(out[: 16 * size]), "numpy fields": lambda: _structured(s, motion=False)},
            waits=True,
        ),
        Case(
            "pack_cloud 32 bytes",
            63 * size,
            lambda: kernels.pack_cloud(s.cloud, s.colors, s.confidence, s.velocity, out=out),
            {"copy of the output": _copy(out), "numpy fields": lambda: _structured(s, motion=True)},
            waits=True,
        ),
        Case(
            "pack_cloud 16 bytes organized",
            31 * size,
            lambda: kernels.pack_cloud(s.cloud, s.colors, organized=True, out=out),
            {"copy of the output": _copy(out[: 16 * size])},
        ),
        Case(
            "sim3_moments",
            28 * size,
            lambda: kernels.sim3_moments(s.cloud, s.velocity, s.confidence),
            {"torch": lambda: _moments(s)},
        ),
        Case(
            "project_zbuffer",
            12 * size + 8 * math.prod(image),
            lambda: kernels.project_zbuffer(s.cloud, *camera, size=image),
            {"torch": lambda: _zbuffer(s, image)},
        ),
        Case(
            "seen_through",
            13 * size + 4 * math.prod(image),
            lambda: kernels.seen_through(s.cloud, s.depth[0], *camera),
        ),
    ]


def _prepare(s: Scene, size: tuple[int, int]) -> Work:
    return lambda: kernels.prepare_images(s.images, size, (0, 0), size)


def _prepare_rivals(s: Scene, size: tuple[int, int]) -> dict[str, Work]:
    if s.images.is_cuda or importlib.util.find_spec("PIL") is None:
        return {}
    from PIL import Image

    pictures = [Image.fromarray(image) for image in s.images.numpy()]

    def resize() -> list[Image.Image]:
        return [picture.resize((size[1], size[0]), Image.Resampling.BICUBIC) for picture in pictures]

    def prepare() -> Tensor:
        planes = (torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous() for picture in resize())
        return torch.stack([plane.float().div_(255) for plane in planes])

    return {"Pillow's resize alone": resize, "Pillow and torch": prepare}


def _unproject(s: Scene) -> Tensor:
    height, width = s.depth.shape[1:]
    device = s.depth.device
    v, u = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    pixels = torch.stack([u, v, torch.ones_like(u)], -1).float()
    local = pixels @ torch.linalg.inv(s.intrinsics).mT[:, None] * s.depth[..., None]
    points: Tensor = local @ s.pose[:, None, :3, :3].mT + s.pose[:, None, None, :3, 3]
    return points


def _finite_difference(s: Scene) -> Tensor:
    flow = s.moved - s.points
    known: Tensor = flow.isfinite().all(-1, keepdim=True)
    return torch.where(known, flow, torch.nan)


def _median_mask(s: Scene) -> Tensor:
    distance = (s.moved - s.points).norm(dim=-1)
    mask: Tensor = distance > 3 * distance.flatten(1).nanmedian(1).values[:, None, None]
    return mask


def _mean_mask(s: Scene) -> Tensor:
    distance = (s.moved - s.points).norm(dim=-1)
    mask: Tensor = distance > 0.2 * distance.flatten(1).nanmean(1)[:, None, None]
    return mask


def _flow_mask(s: Scene) -> Tensor:
    rotated = _unproject(s) @ s.intrinsics[:, None].mT
    height, width = s.depth.shape[1:]
    u, v = torch.arange(width, device=s.depth.device), torch.arange(height, device=s.depth.device)[:, None]
    x, y = rotated[..., 0] / rotated[..., 2] - u, rotated[..., 1] / rotated[..., 2] - v
    mask: Tensor = (torch.stack([x, y], -1) - s.flow).norm(dim=-1) > 1
    return mask


def _occlusion(s: Scene) -> Tensor:
    height, width = s.depth.shape[1:]
    device = s.depth.device
    v, u = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    target = torch.stack([u, v], -1) + s.flow
    scale = torch.tensor([width - 1, height - 1], device=device) / 2
    back = torch.nn.functional.grid_sample(s.flow.permute(0, 3, 1, 2), target / scale - 1, align_corners=True)
    inside = ((target >= 0) & (target <= 2 * scale)).all(-1)
    mask: Tensor = ~inside | ((s.flow + back.permute(0, 2, 3, 1)).norm(dim=-1) > 1)
    return mask


def _fuse(s: Scene, voxel: float) -> tuple[Tensor, ...]:
    """Sorting by cell and adding by index: what one writes without a kernel."""
    cell = (s.cloud / voxel).floor().long() + (1 << 20)
    key = cell[:, 0] << 42 | cell[:, 1] << 21 | cell[:, 2]
    _, row = key.unique(return_inverse=True)
    rows = int(row.max()) + 1
    weight = s.confidence.new_zeros(rows).index_add_(0, row, s.confidence)
    means = []
    for values in (s.cloud, s.colors.float(), s.velocity, s.dynamic.float()[:, None]):
        total = values.new_zeros(rows, values.shape[1]).index_add_(0, row, values * s.confidence[:, None])
        means.append(total / weight[:, None])
    return (*means, weight)


def _open3d(s: Scene, voxel: float) -> dict[str, Work]:
    if s.cloud.is_cuda or importlib.util.find_spec("open3d") is None:
        return {}
    open3d = importlib.import_module("open3d")
    cloud = open3d.geometry.PointCloud()
    cloud.points = open3d.utility.Vector3dVector(s.cloud.double().numpy())
    cloud.colors = open3d.utility.Vector3dVector(s.colors.double().numpy() / 255)
    return {"Open3D voxel_down_sample": lambda: cloud.voxel_down_sample(voxel)}


def _copy(source: Tensor) -> Work:
    target = torch.empty_like(source)
    if source.is_cuda:
        return lambda: target.copy_(source)
    to, of = target.numpy(), source.numpy()
    return lambda: np.copyto(to, of)  # one memcpy


def _structured(s: Scene, *, motion: bool) -> bytes:
    """The structured array that ROS users fill field by field."""
    layout = kernels.cloud_layout(confidence=motion, velocity=motion)
    rows = np.zeros(len(s.cloud), [(name.name, np.float32) for name in layout.fields])
    points, velocity = s.cloud.cpu().numpy(), s.velocity.cpu().numpy()
    kept = np.isfinite(points).all(1)
    red, green, blue = s.colors.cpu().numpy().astype(np.uint32).T
    columns = [*points.T, (red << 16 | green << 8 | blue).view(np.float32)]
    if motion:
        columns += [s.confidence.cpu().numpy(), *velocity.T]
    for name, column in zip(layout.fields, columns, strict=True):
        rows[name.name] = column
    data: bytes = rows[kept].tobytes()
    return data


def _moments(s: Scene) -> tuple[Tensor, ...]:
    w, a, b = s.confidence.double(), s.cloud.double(), s.velocity.double()
    total = w.sum()
    a_mean, b_mean = (w @ a) / total, (w @ b) / total
    a, b = a - a_mean, b - b_mean
    return a_mean, b_mean, (b * w[:, None]).T @ a / total, (w @ a.square()).sum(), (w @ b.square()).sum()


def _zbuffer(s: Scene, size: tuple[int, int]) -> Tensor:
    local = (s.cloud - s.pose[0, :3, 3]) @ s.pose[0, :3, :3]
    z = local[:, 2]
    pixel = (local[:, :2] / z[:, None] * s.intrinsics[0, 0, 0] + s.intrinsics[0, :2, 2]).round().long()
    height, width = size
    kept = (z > 0) & (pixel >= 0).all(1) & (pixel[:, 0] < width) & (pixel[:, 1] < height)
    depth = z.new_full((height * width,), torch.inf)
    return depth.scatter_reduce_(0, (pixel[:, 1] * width + pixel[:, 0])[kept], z[kept], "amin").view(size)
