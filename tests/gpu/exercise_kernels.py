# SPDX-License-Identifier: Apache-2.0
"""Every CUDA kernel once on a small scene of awkward sizes, for tools that watch each access."""

import torch

from dpm_core import kernels


def main() -> None:
    device = torch.device("cuda")
    random = torch.Generator().manual_seed(0)
    views, height, width = 3, 37, 301
    size = views * height * width
    images = torch.randint(0, 256, (views, 50, 61, 3), dtype=torch.uint8, generator=random).to(device)
    points = torch.randn(views, height, width, 3, generator=random).to(device)
    points[:, 3:9, 5:80] = torch.nan
    moved = points + 0.1 * torch.randn(points.shape, generator=random).to(device)
    depth, flow = points[..., 2].abs().contiguous(), points[..., :2].contiguous()
    pose, intrinsics = torch.eye(4), torch.tensor([[200, 0, 150], [0, 200, 18], [0, 0, 1.0]])
    poses, lenses = pose.repeat(views, 1, 1).to(device), intrinsics.repeat(views, 1, 1).to(device)
    cloud, velocity = points.view(-1, 3), moved.view(-1, 3)
    colors = torch.randint(0, 256, (size, 3), dtype=torch.uint8, generator=random).to(device)
    confidence = torch.rand(size, generator=random).to(device)
    dynamic = confidence > 0.5

    for channels, count in (("rgb", 3), ("mono", 1)):
        picture = images[..., :count].contiguous()
        for dtype in (torch.float32, torch.float16):
            kernels.prepare_images(picture, (33, 40), (-2, 3), (39, 41), channels=channels, dtype=dtype)
    kernels.unproject_depth(depth, lenses, poses)
    kernels.camera_depth(points, poses)
    kernels.scene_flow(points, moved)
    kernels.pointmap_dynamic_mask(moved, points)
    kernels.pointmap_dynamic_mask(moved, points, statistic="mean")
    kernels.flow_dynamic_mask(flow, depth, lenses, poses, threshold=1.0)
    kernels.occlusion_mask(flow, flow)
    kernels.fuse_points(cloud, colors, confidence, velocity, dynamic, voxel=0.1)
    for organized in (False, True):
        kernels.pack_cloud(cloud, colors, organized=organized)
        kernels.pack_cloud(cloud, colors, confidence, velocity, dynamic, organized=organized)
    kernels.sim3_moments(cloud, velocity, confidence)
    kernels.sim3_residuals(cloud, velocity, confidence, estimate=torch.eye(4))
    kernels.project_zbuffer(cloud, pose, intrinsics, size=(height, width))
    kernels.seen_through(cloud, depth[0], pose, intrinsics)
    torch.cuda.synchronize()
    print("every kernel ran")


if __name__ == "__main__":
    main()
