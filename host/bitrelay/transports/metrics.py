"""How well one transport reaches one peer, as measured (rows CRD-03, CRD-04, CRD-11 to CRD-13).

Latency comes from pings and acknowledgements, bandwidth from bytes acknowledged over time while there was more to send.
Success and failure move loss and reliability both ways. What is not measured any more drifts back to what is assumed of
a transport that nothing is known of: yesterday's bad link gets another chance, yesterday's good one no credit.
"""

from dataclasses import dataclass, replace
from math import exp2
from typing import Final

STALE_S: Final = 60.0
"""How long a measurement counts in full."""
HALF_LIFE_S: Final = 120.0
"""In which what is stale comes half way back."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """packet_loss, reliability_score: 0 to 1. Times are seconds of the clock of whoever measures.

    bandwidth_updated: when bandwidth was measured, which pings do not do; last_updated: when anything was.
    """

    latency_ms: float = 100.0
    bandwidth_kbps: float = 1000.0
    packet_loss: float = 0.0
    reliability_score: float = 1.0
    last_updated: float = 0.0
    bandwidth_updated: float = 0.0


INITIAL: Final = Metrics()


def succeeded(metrics: Metrics, now: float) -> Metrics:
    """A message or ping was acknowledged."""
    metrics = _answers_drifted(metrics, now)
    return replace(
        metrics,
        reliability_score=metrics.reliability_score * 0.95 + 0.05,
        packet_loss=metrics.packet_loss * 0.9,
        last_updated=now,
    )


def failed(metrics: Metrics, now: float) -> Metrics:
    """One was not, in time; or could not be sent."""
    metrics = _answers_drifted(metrics, now)
    return replace(
        metrics,
        reliability_score=metrics.reliability_score * 0.9,
        packet_loss=metrics.packet_loss * 0.9 + 0.1,
        last_updated=now,
    )


def with_latency(metrics: Metrics, latency_ms: float, now: float) -> Metrics:
    """A round trip was measured; it moves the mean by an eighth."""
    metrics = _answers_drifted(metrics, now)
    return replace(metrics, latency_ms=_toward(metrics.latency_ms, latency_ms, 0.125), last_updated=now)


def with_bandwidth(metrics: Metrics, bandwidth_kbps: float, now: float) -> Metrics:
    """A rate was measured; it moves the mean by a quarter."""
    mean = drifted(metrics, now).bandwidth_kbps
    return replace(
        _answers_drifted(metrics, now),
        bandwidth_kbps=_toward(mean, bandwidth_kbps, 0.25),
        last_updated=now,
        bandwidth_updated=now,
    )


def drifted(metrics: Metrics, now: float) -> Metrics:
    """What the metrics are worth now. The times stay: asking changes nothing."""
    gone = _gone(metrics.bandwidth_updated, now)
    bandwidth_kbps = _toward(metrics.bandwidth_kbps, INITIAL.bandwidth_kbps, gone)
    return replace(_answers_drifted(metrics, now), bandwidth_kbps=bandwidth_kbps)


def _answers_drifted(metrics: Metrics, now: float) -> Metrics:
    # All but the bandwidth, which has a time of its own.
    gone = _gone(metrics.last_updated, now)
    return replace(
        metrics,
        latency_ms=_toward(metrics.latency_ms, INITIAL.latency_ms, gone),
        packet_loss=_toward(metrics.packet_loss, INITIAL.packet_loss, gone),
        reliability_score=_toward(metrics.reliability_score, INITIAL.reliability_score, gone),
    )


def _gone(since: float, now: float) -> float:
    # Which part of what was measured then counts no more.
    return 1 - exp2(-max(0.0, now - since - STALE_S) / HALF_LIFE_S)


def _toward(value: float, goal: float, part: float) -> float:
    return value + (goal - value) * part
