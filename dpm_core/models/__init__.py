# SPDX-License-Identifier: Apache-2.0
"""Networks: tensors in, tensors out."""

from .config import (
    VDPM,
    VDPM_ADDITION,
    VDPM_DEPTH_2,
    VDPM_DPT,
    VDPM_MINI,
    VGGT_1B,
    AdaptiveDecoderConfig,
    AdditiveDecoderConfig,
    AggregatorConfig,
    CameraHeadConfig,
    DptConfig,
    DptDecoderConfig,
    EncoderConfig,
    TrackConfig,
    VDPMConfig,
    VGGTConfig,
)
from .d2ust3r import D2USt3RNetwork
from .dust3r import DUSt3RNetwork
from .flow_head import FlowEstimate
from .initialise import initialise
from .pair_config import (
    D2UST3R,
    D2UST3R_HEADS,
    DUST3R,
    DUST3R_LINEAR,
    POMATO,
    POMATO_6,
    POMATO_12,
    CrocoConfig,
    D2USt3RConfig,
    DUSt3RConfig,
    FlowHeadConfig,
    PairDptConfig,
    POMATOConfig,
    TemporalConfig,
)
from .pairs import PairNetwork, PairOutput
from .pomato import Mode, POMATONetwork
from .track_head import Tracks
from .trunk import PointMaps
from .vdpm import VDPMNetwork, WindowMaps
from .vggt import DepthMaps, SceneMaps, VGGTNetwork

__all__ = [
    "D2UST3R",
    "D2UST3R_HEADS",
    "DUST3R",
    "DUST3R_LINEAR",
    "POMATO",
    "POMATO_6",
    "POMATO_12",
    "VDPM",
    "VDPM_ADDITION",
    "VDPM_DEPTH_2",
    "VDPM_DPT",
    "VDPM_MINI",
    "VGGT_1B",
    "AdaptiveDecoderConfig",
    "AdditiveDecoderConfig",
    "AggregatorConfig",
    "CameraHeadConfig",
    "CrocoConfig",
    "D2USt3RConfig",
    "D2USt3RNetwork",
    "DUSt3RConfig",
    "DUSt3RNetwork",
    "DepthMaps",
    "DptConfig",
    "DptDecoderConfig",
    "EncoderConfig",
    "FlowEstimate",
    "FlowHeadConfig",
    "Mode",
    "POMATOConfig",
    "POMATONetwork",
    "PairDptConfig",
    "PairNetwork",
    "PairOutput",
    "PointMaps",
    "SceneMaps",
    "TemporalConfig",
    "TrackConfig",
    "Tracks",
    "VDPMConfig",
    "VDPMNetwork",
    "VGGTConfig",
    "VGGTNetwork",
    "WindowMaps",
    "initialise",
]
