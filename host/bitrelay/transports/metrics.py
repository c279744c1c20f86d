"""How well one transport reaches one peer, as measured (rows CRD-03, CRD-04, CRD-11 to CRD-13).

Latency comes from pings and acknowledgements, bandwidth from bytes acknowledged over time while there was more to send.
Success and failure move loss and reliability both ways. What is not measured any more drifts back to what is assumed of
a transport that nothing is known of: yesterday's bad link gets another chance, yesterday's good one no credit.
"""

from dataclasses import dataclass, replace
from typing import Final

STALE_S: Final = 60.0
"""How long a measurement counts in full."""
HALF_LIFE_S: Final = 120.0
"""In which what is stale comes half way back."""
_LATENCY_GAIN, _BANDWIDTH_GAIN = 0.125, 0.25


@dataclass(frozen=True, slots=True)
class Metrics:
    """packet_loss, reliability_score: 0 to 1; last_updated: seconds of the clock of whoever measures."""

    latency_ms: float = 100.0
    bandwidth_kbps: float = 1000.0
    packet_loss: float = 0.0
    reliability_score: float = 1.0
    last_updated: float = 0.0


INITIAL: Final = Metrics()


def succeeded(metrics: Metrics, now: float) -> Metrics:
    """A message or ping was acknowledged."""
    metrics = drifted(metrics, now)
    return replace(
        metrics,
        reliability_score=metrics.reliability_score * 0.95 + 0.05,
        packet_loss=metrics.packet_loss * 0.9,
        last_updated=now,
    )


def failed(metrics: Metrics, now: float) -> Metrics:
    """One was not, in time; or could not be sent."""
    metrics = drifted(metrics, now)
    return replace(
        metrics,
        reliability_score=metrics.reliability_score * 0.9,
        packet_loss=metrics.packet_loss * 0.9 + 0.1,
        last_updated=now,
    )


def measured(
    metrics: Metrics, now: float, *, latency_ms: float | None = None, bandwidth_kbps: float | None = None
) -> Metrics:
    """A round trip, or a rate, was measured; each moves its mean by an eighth or a quarter."""
    metrics = drifted(metrics, now)
    if latency_ms is not None:
        metrics = replace(metrics, latency_ms=_toward(metrics.latency_ms, latency_ms, _LATENCY_GAIN))
    if bandwidth_kbps is not None:
        metrics = replace(metrics, bandwidth_kbps=_toward(metrics.bandwidth_kbps, bandwidth_kbps, _BANDWIDTH_GAIN))
    return replace(metrics, last_updated=now)


def drifted(metrics: Metrics, now: float) -> Metrics:
    """What the metrics are worth now. last_updated stays: asking changes nothing."""
    stale_s = now - metrics.last_updated - STALE_S
    if stale_s <= 0:
        return metrics
    gone = 1 - 0.5 ** (stale_s / HALF_LIFE_S)
    return Metrics(
        _toward(metrics.latency_ms, INITIAL.latency_ms, gone),
        _toward(metrics.bandwidth_kbps, INITIAL.bandwidth_kbps, gone),
        _toward(metrics.packet_loss, INITIAL.packet_loss, gone),
        _toward(metrics.reliability_score, INITIAL.reliability_score, gone),
        metrics.last_updated,
    )


def _toward(value: float, goal: float, part: float) -> float:
    return value + (goal - value) * part
