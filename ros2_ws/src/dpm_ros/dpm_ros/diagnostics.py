# SPDX-License-Identifier: Apache-2.0
"""How the stream does, as a diagnostic status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from dpm_core.stream import Statistics
from dpm_core.types import MetricScale


@dataclass(frozen=True)
class Health:
    """What is known at one moment.

    Attributes:
        state: the lifecycle state.
        seconds: steady time of this moment.
        statistics: the live session's; None where none is active.
        rejected: images that could not be read, by reason; they never reached the session.
        faults: count and newest message by cause.
        engine: model, backend and device.
        notice: what must be known of the weights, or None.
        unit: of the newest estimate, "" before the first.
        scale: what made metres of its unit, None where nothing did.
        map_points: what stands still, as of the newest estimate.
        tracks: points that are followed.
        stamp_age: seconds from the newest estimate's stamp to now by the node's clock; None before the first.
        clock_ns: the node's clock.
        clock_stands: whether simulated time did not go on since the moment before.
        silent_for: seconds since the newest image.
        silence_limit: seconds without images that are an error.
    """

    state: str
    seconds: float
    statistics: Statistics | None
    rejected: Mapping[str, int]
    faults: Mapping[str, tuple[int, str]]
    engine: str
    notice: str | None
    unit: str
    scale: MetricScale | None
    map_points: int
    tracks: int
    stamp_age: float | None
    clock_ns: int
    clock_stands: bool
    silent_for: float
    silence_limit: float

    @property
    def frames_in(self) -> int:
        """Images that came, readable or not."""
        offered = self.statistics.frames_in if self.statistics else 0
        return offered + sum(self.rejected.values())

    @property
    def estimates_out(self) -> int:
        """Estimates that went out."""
        return self.statistics.estimates_out if self.statistics else 0

    @property
    def dropped(self) -> dict[str, int]:
        """Images that gave no estimate, by reason: with `waiting` and `estimates_out` they make up `frames_in`."""
        session = self.statistics.dropped if self.statistics else {}
        return {**session, **self.rejected}


def diagnostic_status(name: str, now: Health, before: Health | None) -> DiagnosticStatus:
    """The state of things at `now`; rates and levels are of the time since `before`."""
    level, message = _judge(now, before)
    return DiagnosticStatus(level=level, name=name, hardware_id="dpm", message=message, values=_values(now, before))


def _judge(now: Health, before: Health | None) -> tuple[bytes, str]:
    if now.state != "active":
        return DiagnosticStatus.OK, now.state
    if now.clock_stands:
        return DiagnosticStatus.WARN, "paused: /clock stands still"
    if now.silent_for > now.silence_limit:
        return DiagnosticStatus.ERROR, f"no images for {now.silent_for:.0f} s"
    lost = {reason: count - (before.dropped.get(reason, 0) if before else 0) for reason, count in now.dropped.items()}
    lost = {reason: count for reason, count in lost.items() if count > 0}
    if lost and before and now.estimates_out == before.estimates_out:
        return DiagnosticStatus.ERROR, f"no estimates; dropped by {_listed(lost)}"
    if lost:
        return DiagnosticStatus.WARN, f"dropped by {_listed(lost)}"
    return DiagnosticStatus.OK, now.notice or "running"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in sorted(counts.items()))


def _values(now: Health, before: Health | None) -> list[KeyValue]:
    values = {
        "state": now.state,
        "engine": now.engine,
        "notice": now.notice or "",
        "unit": now.unit,
        **_scale(now.scale),
        "map (points)": now.map_points,
        "tracks": now.tracks,
        "frames in": now.frames_in,
        "estimates out": now.estimates_out,
        "waiting": now.statistics.waiting if now.statistics else 0,
        "input rate (Hz)": _rate(now, before, "frames_in"),
        "output rate (Hz)": _rate(now, before, "estimates_out"),
        "stamp age (s)": "" if now.stamp_age is None else f"{now.stamp_age:.3f}",
    }
    values |= {f"dropped: {reason}": count for reason, count in sorted(now.dropped.items())}
    values |= {f"fault: {cause}": f"{count} times; {text}" for cause, (count, text) in sorted(now.faults.items())}
    for stage, spread in (now.statistics.latency if now.statistics else {}).items():
        values |= {
            f"latency: {stage} {name} (ms)": f"{1e3 * seconds:.1f}"
            for name, seconds in (("p50", spread.p50), ("p95", spread.p95), ("max", spread.max))
        }
    return [KeyValue(key=key, value=str(value)) for key, value in values.items()]


def _scale(scale: MetricScale | None) -> dict[str, str]:
    if scale is None:
        return {"scale": "unscaled"}
    return {
        "scale": f"{scale.metres_per_unit:.6g} m a unit of the network",
        "scale uncertainty (%)": f"{100 * scale.relative_sigma:.2f}",
        "scale source": scale.source,
    }


def _rate(now: Health, before: Health | None, count: str) -> str:
    if before is None or now.seconds <= before.seconds:
        return ""
    return f"{max(0, getattr(now, count) - getattr(before, count)) / (now.seconds - before.seconds):.1f}"
