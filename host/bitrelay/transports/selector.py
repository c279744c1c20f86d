"""Over which transport a message goes, and over which next if that fails (rows CRD-01, CRD-05 to CRD-10)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from .metrics import INITIAL, Metrics

SMALL_BYTES: Final = 1000
"""Below this Bluetooth is enough (row CRD-08)."""
WIFI_BYTES: Final = 64 * 1024
"""Up to this Wi-Fi is, above it the internet is meant (resolution E28)."""
_LEAST_RELIABILITY = 0.01


class TransportType(StrEnum):
    BLUETOOTH = "bluetooth"
    WIFI_DIRECT = "wifi-direct"
    INTERNET = "internet"
    MESH = "mesh"


class Policy(StrEnum):
    FASTEST_FIRST = "fastest-first"
    """The lowest latency."""
    MOST_RELIABLE = "most-reliable"
    """The highest reliability."""
    LOAD_BALANCED = "load-balanced"
    """Each gets bytes in proportion to its bandwidth and reliability."""
    ENERGY_EFFICIENT = "energy-efficient"
    """By size: Bluetooth, then Wi-Fi, then the internet."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A transport that a peer is connected over.

    metrics: as they are now (`metrics.drifted`); sent_bytes: what went over it; suspect: it did not answer in time, so
    it comes after all others.
    """

    name: str
    type: TransportType
    metrics: Metrics = INITIAL
    sent_bytes: int = 0
    suspect: bool = False


def order(
    candidates: Sequence[Candidate], policy: Policy, size: int, wifi_bytes: int = WIFI_BYTES
) -> tuple[Candidate, ...]:
    """The one the policy selects for a message of that size, in bytes, then all others as they are listed.

    Those under suspicion come last, ordered alike. Of equals the one listed first is selected.
    """
    trusted = [each for each in candidates if not each.suspect]
    suspects = [each for each in candidates if each.suspect]
    return (*_selected_first(trusted, policy, size, wifi_bytes), *_selected_first(suspects, policy, size, wifi_bytes))


def _selected_first(candidates: list[Candidate], policy: Policy, size: int, wifi_bytes: int) -> list[Candidate]:
    if not candidates:
        return []
    if policy is Policy.ENERGY_EFFICIENT:
        selected = _least_energy(candidates, size, wifi_bytes)
    else:
        selected = min(candidates, key=_COST[policy])
    return [selected, *(each for each in candidates if each is not selected)]


def _least_energy(candidates: list[Candidate], size: int, wifi_bytes: int) -> Candidate:
    if size < SMALL_BYTES:
        wanted = TransportType.BLUETOOTH
    elif size <= wifi_bytes:
        wanted = TransportType.WIFI_DIRECT
    else:
        wanted = TransportType.INTERNET
    return next((each for each in candidates if each.type is wanted), candidates[0])


def _load(candidate: Candidate) -> float:
    # Never 0, or a transport that failed long ago would not get the one message that shows it is back.
    reliability = max(candidate.metrics.reliability_score, _LEAST_RELIABILITY)
    return (candidate.sent_bytes + 1) / (max(candidate.metrics.bandwidth_kbps, 1.0) * reliability)


_COST: Final[dict[Policy, Callable[[Candidate], float]]] = {
    Policy.FASTEST_FIRST: lambda candidate: candidate.metrics.latency_ms,
    Policy.MOST_RELIABLE: lambda candidate: -candidate.metrics.reliability_score,
    Policy.LOAD_BALANCED: _load,
}
