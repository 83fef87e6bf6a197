# SPDX-License-Identifier: Apache-2.0
"""Native kernels behind checked Python functions: the same call on CPU and CUDA tensors."""

from .fuse import FusedPoints, fuse_points
from .images import prepare_images
from .masks import flow_dynamic_mask, occlusion_mask, pointmap_dynamic_mask
from .motion import camera_depth, scene_flow
from .pack import CloudField, CloudLayout, cloud_layout, pack_cloud
from .sim3 import Sim3Moments, sim3_moments, sim3_residuals
from .unproject import unproject_depth
from .visibility import ZBuffer, project_zbuffer, seen_through
from .voxel_map import VoxelMap

__all__ = [
    "CloudField",
    "CloudLayout",
    "FusedPoints",
    "Sim3Moments",
    "VoxelMap",
    "ZBuffer",
    "camera_depth",
    "cloud_layout",
    "flow_dynamic_mask",
    "fuse_points",
    "occlusion_mask",
    "pack_cloud",
    "pointmap_dynamic_mask",
    "prepare_images",
    "project_zbuffer",
    "scene_flow",
    "seen_through",
    "sim3_moments",
    "sim3_residuals",
    "unproject_depth",
]
