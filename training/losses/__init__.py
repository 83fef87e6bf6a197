# SPDX-License-Identifier: Apache-2.0
"""The losses of the papers, as means over pixels, and how their masks are made from flow."""

from .camera import CameraLoss
from .d2ust3r import D2USt3RLoss, PairMaps, PairTruth, dynamic_mask_loss
from .flow import flow_sequence_loss, mixture_of_laplace_loss
from .masks import camera_flow, dynamic_mask, occlusion_mask, sample_nearest
from .matching import MatchingLoss, PatchMatches, patch_matches
from .pointmaps import confidence_weighted, example_means, mean_distance
from .pomato import PomatoPairLoss, PomatoTemporalLoss, PomatoTemporalTruth, PomatoTruth
from .truth import pair_truth, pomato_temporal_truth, pomato_truth
from .vdpm import VDPMLoss

__all__ = [
    "CameraLoss",
    "D2USt3RLoss",
    "MatchingLoss",
    "PairMaps",
    "PairTruth",
    "PatchMatches",
    "PomatoPairLoss",
    "PomatoTemporalLoss",
    "PomatoTemporalTruth",
    "PomatoTruth",
    "VDPMLoss",
    "camera_flow",
    "confidence_weighted",
    "dynamic_mask",
    "dynamic_mask_loss",
    "example_means",
    "flow_sequence_loss",
    "mean_distance",
    "mixture_of_laplace_loss",
    "occlusion_mask",
    "pair_truth",
    "patch_matches",
    "pomato_temporal_truth",
    "pomato_truth",
    "sample_nearest",
]
