"""Events, a clock, and ledgers with something in them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from bitrelay.identity.keys import IdentityKeys
from bitrelay.mesh.relay_chain import RelayEvent
from bitrelay.mesh.relay_ledger import RelayLedger

NOW = 1_786_000_000
KEYS = IdentityKeys(hashlib.sha256(b"sign").digest(), hashlib.sha256(b"noise").digest())
OTHER_KEYS = IdentityKeys(hashlib.sha256(b"sign another").digest(), hashlib.sha256(b"noise another").digest())


class Clock:
    """Unix seconds that pass when a test says so."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def event(number: int) -> RelayEvent:
    """Each is another one; that of a number is always the same."""
    return RelayEvent(
        packet_hash=hashlib.sha256(b"%d" % number).digest(),
        source=number.to_bytes(8, "big"),
        destination=bytes(8) if number % 3 else b"\xaa" * 8,
        hops=number % 8 + 1,
        origin=("east", "wiese", "höhe")[number % 3],
        target=("west", "tal")[number % 2],
        time_ms=NOW * 1000 + number,
        fee=number % 5,
    )


def events(first: int, last: int) -> list[RelayEvent]:
    return [event(number) for number in range(first, last + 1)]


def ledger_of(path: Path, blocks: Sequence[int], clock: Clock | None = None, keys: IdentityKeys = KEYS) -> RelayLedger:
    """An open ledger with blocks of so many entries, a minute apart; entry n holds event(n)."""
    clock = clock or Clock()
    ledger = RelayLedger(path, keys, clock)
    for size in blocks:
        last = ledger.last
        ledger.append(events(last + 1, last + size))
        clock.now += 60
    return ledger
