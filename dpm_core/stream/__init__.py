# SPDX-License-Identifier: Apache-2.0
"""Frames in, estimates out. Names are imported when they are used: help texts need the configuration, not torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import MapConfig, SessionConfig, TrackConfig
    from .live import Fault, LiveSession
    from .pipeline import Outcome, Pipeline, Reader
    from .session import PredictionError, RepeatedStampError, Session
    from .statistics import Percentiles, Statistics
    from .wanted import Wanted
    from .window import Break

_MODULES = {
    "Break": "window",
    "Fault": "live",
    "LiveSession": "live",
    "MapConfig": "config",
    "Outcome": "pipeline",
    "Percentiles": "statistics",
    "Pipeline": "pipeline",
    "PredictionError": "session",
    "Reader": "pipeline",
    "RepeatedStampError": "session",
    "Session": "session",
    "SessionConfig": "config",
    "Statistics": "statistics",
    "TrackConfig": "config",
    "Wanted": "wanted",
}

__all__ = [
    "Break",
    "Fault",
    "LiveSession",
    "MapConfig",
    "Outcome",
    "Percentiles",
    "Pipeline",
    "PredictionError",
    "Reader",
    "RepeatedStampError",
    "Session",
    "SessionConfig",
    "Statistics",
    "TrackConfig",
    "Wanted",
]


def __getattr__(name: str) -> Any:
    """The public names, from their modules."""
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
