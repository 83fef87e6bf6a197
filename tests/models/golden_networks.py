# SPDX-License-Identifier: Apache-2.0
"""Networks built from a golden case's dimensions alone, and run to the case's outputs. One function a kind of model."""

import torch
from golden_pairs import PAIR_CASES

from dpm_core.geometry.cameras import inverse_rigid, rigid, transform, unproject
from dpm_core.geometry.pose_encoding import decode_pose
from dpm_core.models import (
    AdaptiveDecoderConfig,
    AggregatorConfig,
    CameraHeadConfig,
    DptConfig,
    EncoderConfig,
    VDPMConfig,
    VDPMNetwork,
    VGGTConfig,
    VGGTNetwork,
)


def _parts(dims):
    dino, aggregator, camera, dpt = (dims[name] for name in ("dino", "aggregator", "camera_head", "dpt_head"))
    encoder = EncoderConfig(
        image_size=dims["img_size"],
        patch=dims["patch_size"],
        dim=dino["embed_dim"],
        depth=dino["depth"],
        heads=dino["num_heads"],
        mlp_ratio=dino["mlp_ratio"],
        registers=dims["num_register_tokens"],
    )
    return {
        "aggregator": AggregatorConfig(
            encoder=encoder,
            dim=aggregator["embed_dim"],
            depth=aggregator["depth"],
            heads=aggregator["num_heads"],
            mlp_ratio=aggregator["mlp_ratio"],
            registers=dims["num_register_tokens"],
            taps=tuple(dpt["intermediate_layer_idx"]),
        ),
        "camera": CameraHeadConfig(
            depth=camera["trunk_depth"], heads=camera["num_heads"], iterations=camera["iterations"]
        ),
        "dpt": DptConfig(features=dpt["features"], channels=tuple(dpt["out_channels"])),
    }


def _levels(network, images):
    tokens = network.encode(images.flatten(0, 1)).unflatten(0, images.shape[:2])
    return network.aggregate(tokens, images.shape[-2:])


def _tokens(levels, name, kept):
    stacked = torch.stack(levels, 1)
    outputs = {f"{name}_{i}": level[:, :, :kept] for i, level in enumerate(levels)}
    return outputs | {f"{name}_mean": stacked.mean(3), f"{name}_rms": stacked.square().mean(3).sqrt()}


class VGGTCase:
    def __init__(self, config):
        self.kept = config["dims"]["tokens_kept"]
        self.network = VGGTNetwork(VGGTConfig(**_parts(config["dims"]), track=None))

    def run(self, images):
        network, size = self.network, images.shape[-2:]
        levels = _levels(network, images)
        encodings = network.camera_head(levels[-1])
        points, depth = network.own_maps(levels, size), network.depth_maps(levels, size)
        clamped = torch.cat([encodings[-1, ..., :7], encodings[-1, ..., 7:].clamp(0.5, 1.5)], -1)
        camera_from_world, intrinsics = decode_pose(clamped, size)
        return _tokens(levels, "tokens", self.kept) | {
            "pose_enc_list": encodings,
            "world_points": points.points,
            "world_points_conf": points.conf,
            "depth": depth.depth[..., None],
            "depth_conf": depth.conf,
            "pose_enc_clamped": clamped,
            "extrinsics": camera_from_world,
            "intrinsics": intrinsics,
            "world_points_from_depth": transform(
                inverse_rigid(rigid(camera_from_world[..., :3], camera_from_world[..., 3])),
                unproject(depth.depth, intrinsics),
            ),
        }


class VDPMCase:
    def __init__(self, config):
        dims = config["dims"]
        self.kept, self.stride = dims["tokens_kept"], dims["time_maps_stride"]
        self.targets = torch.tensor(dims["cond_view_idxs"])
        decoder = dims["decoder"]
        self.network = VDPMNetwork(
            VDPMConfig(
                **_parts(dims),
                decoder=AdaptiveDecoderConfig(decoder["depth"], decoder["num_heads"], decoder["mlp_ratio"]),
            )
        )

    def run(self, images):
        network, size = self.network, images.shape[-2:]
        levels = _levels(network, images)
        maps = network(images, self.targets[:, None])
        prepared = network.decoder.prepare(network.conditions_of(levels, self.targets[:, None]))
        decoded = [level[:, 0] for level in network.decode(levels, prepared, size)]
        by_time = network.maps_at(levels, network.conditions_at(levels, range(images.shape[1])), size)
        sampled = slice(None, None, self.stride)
        outputs = _tokens(levels, "tokens", self.kept) | _tokens(decoded, "decoded", self.kept)
        return outputs | {
            "pose_enc_list": maps.pose_encodings,
            "static_pts3d": maps.own.points,
            "static_conf": maps.own.conf,
            "mixed_pts3d": maps.at_targets.points[:, 0],
            "mixed_conf": maps.at_targets.conf[:, 0],
            "time_pts3d": by_time.points[..., sampled, sampled, :],
            "time_conf": by_time.conf[..., sampled, sampled],
        }


CASES = {"vggt": VGGTCase, "vdpm": VDPMCase, **PAIR_CASES}
"""By the `model` of a case's config.json."""
