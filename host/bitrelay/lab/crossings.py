"""How long frames take from one mesh of a lab to another, and which relay put them on the air there."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from .ledger import Ledger, percentile, without_ttl


@dataclass(slots=True)
class _Crossing:
    heard_at: float | None = None
    is_across: bool = False
    said_by: set[str] = field(default_factory=set)


class Crossings:
    """Told of all values on the air, it keeps account of those that phones sent.

    mesh_of: the mesh of each node. gates: the relays that gateways serve. The latency of a frame counts from the moment
    the first of them in its own mesh has it over the air to the moment a relay of another mesh has sent it on. clock:
    monotonic seconds.
    """

    def __init__(
        self, ledger: Ledger, mesh_of: Mapping[str, str], gates: Collection[str], clock: Callable[[], float]
    ) -> None:
        self._ledger = ledger
        self._mesh_of = mesh_of
        self._gates = gates
        self._clock = clock
        self._crossings: dict[bytes, _Crossing] = {}
        self._latencies_ms: list[float] = []
        self._said: dict[str, int] = dict.fromkeys(gates, 0)

    def on_value(self, sender: str, receiver: str, value: bytes) -> None:
        """A value went from one node to another."""
        author = self._ledger.sender_of(value)
        if author is None:
            return
        crossing = self._crossings.setdefault(without_ttl(value), _Crossing())
        home, now = self._mesh_of[author], self._clock()
        if receiver in self._gates and self._mesh_of[receiver] == home and crossing.heard_at is None:
            crossing.heard_at = now
        # A computer that looks into the lab is in no mesh.
        if self._mesh_of.get(sender, home) != home and not crossing.is_across and crossing.heard_at is not None:
            crossing.is_across = True
            self._latencies_ms.append((now - crossing.heard_at) * 1000)
        if sender in self._said and sender not in crossing.said_by:
            crossing.said_by.add(sender)
            self._said[sender] += 1

    def said(self, gate: str) -> int:
        """How many frames this gateway's relay has put on the air, copies not counted."""
        return self._said[gate]

    def percentile_ms(self, percent: float) -> float | None:
        """The latency in milliseconds that so many percent of the frames did not exceed; None if none has crossed."""
        return percentile(self._latencies_ms, percent)
