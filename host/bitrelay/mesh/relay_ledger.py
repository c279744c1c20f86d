"""The proof-of-relay ledger: who relayed what, when, from where to where. It counts; it moves no value.

Append-only accounting (row MSH-42, resolution E27, section D). Entries form a chain of hashes, and the relayer signs
its head with every block, so that nobody can alter, remove or insert an entry behind the relayer's back, nor the
relayer behind that of whoever has an export.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..identity.keys import IdentityKeys


@dataclass(frozen=True, slots=True)
class RelayEvent:
    """One frame relayed. packet_hash: SHA-256 of it with TTL 0, without RSR. source: on-air id of the author (8);
    destination: of the recipient, zeros if absent (8). hops: 8 - TTL after it was lowered. origin, target: the meshes.
    time_ms: Unix. fee: by the rule in force."""

    packet_hash: bytes
    source: bytes
    destination: bytes
    hops: int
    origin: str
    target: str
    time_ms: int
    fee: int


@dataclass(frozen=True, slots=True)
class Entry:
    """number: from 1 on, without gaps. previous, hash: the chain."""

    number: int
    event: RelayEvent
    previous: bytes
    hash: bytes
    claimed: bool = False


class RelayLedger:
    """The ledger of one relayer, in SQLite. Not for use from several threads at once; calls may block for the disk.

    What append() has returned for is on the disk. Pruned entries leave the hash of the last of them behind, so that the
    chain goes on. set_aside: where a damaged file is that was there.
    """

    def __init__(self, path: Path, keys: IdentityKeys, clock: Callable[[], float]) -> None:
        """Raises what identity/database.open_database raises, and BadData if the chain in it is broken."""
        self.set_aside: Path | None = None
        raise NotImplementedError

    def append(self, events: Sequence[RelayEvent]) -> int:
        """Append events as one signed block; the number of the last entry. Raises DiskFull, PortError: then none is in
        it."""
        raise NotImplementedError

    def entries(self, after: int = 0, most: int = 1000) -> list[Entry]:
        raise NotImplementedError

    def prune(self, keep_s: float) -> int:
        """Let go of whole blocks older than that; how many entries."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def export(path: Path) -> Iterator[dict[str, object]]:
    """A ledger as JSON objects, one a line: what `verify` takes."""
    raise NotImplementedError
