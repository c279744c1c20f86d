"""Which gateways of a fleet can be reached now, by what they said and how long they have been silent.

A policy without I/O. now: seconds of a clock that does not go back.
"""

from dataclasses import dataclass
from typing import Final

from .exchange import GatewayView
from .message import Hello

SILENCE_S: Final = 30.0
"""Who says nothing for so long is gone (row GWY-20)."""
MOST_MEMBERS: Final = 512
"""That are remembered; of more, the one that has been gone longest is forgotten."""


@dataclass(slots=True)
class _Member:
    hello: Hello
    broker_ms: float
    known_at: float
    heard_at: float
    up_at: float | None
    """Since when it can be reached; None while it cannot."""
    up_s: float = 0.0
    """For how long it could be reached before that."""


class FleetRoster:
    """broker_ms: how long the broker takes to answer us, as measured; None if not yet."""

    def __init__(self) -> None:
        self.broker_ms: float | None = None
        self._members: dict[bytes, _Member] = {}

    def said(self, gateway: bytes, hello: Hello, broker_ms: float, now: float) -> bool:
        """A gateway says this of itself, and how long the broker takes to answer it. False: there are too many."""
        member = self._members.get(gateway)
        if member is None:
            if not self._make_room():
                return False
            member = self._members[gateway] = _Member(hello, broker_ms, now, now, now)
        elif member.up_at is None:
            member.up_at = now
        member.hello, member.broker_ms, member.heard_at = hello, broker_ms, now
        return True

    def heard(self, gateway: bytes, now: float) -> bool:
        """Something of a gateway came; whether it is one that can be reached."""
        member = self._members.get(gateway)
        if member is None or member.up_at is None:
            return False
        member.heard_at = now
        return True

    def gone(self, gateway: bytes, now: float) -> bool:
        """A gateway has ended; whether that is news."""
        member = self._members.get(gateway)
        if member is None or member.up_at is None:
            return False
        member.up_s += now - member.up_at
        member.up_at = None
        return True

    def silent(self, now: float) -> list[bytes]:
        """Those that have said nothing for too long: they are gone from now on."""
        return self._all_gone([each for each, m in self._members.items() if now - m.heard_at > SILENCE_S], now)

    def cut_off(self, now: float) -> list[bytes]:
        """We have lost the broker: those that could be reached cannot any more."""
        return self._all_gone(list(self._members), now)

    def view(self, gateway: bytes, now: float) -> GatewayView | None:
        """One that can be reached, or None. Whoever has the fleet's key is trusted."""
        member = self._members.get(gateway)
        if member is None or member.up_at is None:
            return None
        # Whatever goes there and back takes our way to the broker and its, each there and back.
        latency_ms = None if self.broker_ms is None else self.broker_ms + member.broker_ms
        known_s = now - member.known_at
        uptime = (member.up_s + now - member.up_at) / known_s if known_s > 0 else 1.0
        return GatewayView(gateway, member.hello, True, latency_ms, min(1.0, uptime))

    def views(self, now: float) -> list[GatewayView]:
        """All that can be reached."""
        return [view for each in self._members if (view := self.view(each, now)) is not None]

    def takers(self, mesh: str) -> list[bytes]:
        """Those that can be reached and take frames for a mesh."""
        found = []
        for gateway, member in self._members.items():
            offer = member.hello.mesh(mesh) if member.up_at is not None else None
            if offer is not None and offer.downlink:
                found.append(gateway)
        return found

    def _all_gone(self, gateways: list[bytes], now: float) -> list[bytes]:
        return [each for each in gateways if self.gone(each, now)]

    def _make_room(self) -> bool:
        if len(self._members) < MOST_MEMBERS:
            return True
        down = [each for each, member in self._members.items() if member.up_at is None]
        if not down:
            return False
        del self._members[min(down, key=lambda each: self._members[each].heard_at)]
        return True
