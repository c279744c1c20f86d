"""The peers whose identity we have verified, and how they came: both survive a restart (row POW-36)."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from bitrelay.errors import IdentityRefused
from shared_protocol import identity_record
from shared_protocol.pow import DIFFICULTY_MAX

from ..defense.arrivals import ID_SIZE, Arrival
from ..defense.sybil import MEMORY_S
from ..sqlite_file import open_database, told
from .database import PEERS
from .private_file import data_home
from .proof import PowIdentity, score_of
from .record import from_record
from .score import ROUTING_REPUTATION, TRUSTED_REPUTATION, admits
from .verify import DEVELOPMENT_BASE

_log = logging.getLogger(__name__)

MOST_PEERS = 10_000
MOST_ARRIVALS = 10_000
# Of a peer we know nothing of but its identity (rows SEC-08, DHT-10).
NEUTRAL_REPUTATION = 0.5
# A node that was away for longer cannot say how many came meanwhile.
_GAP_S = 3600.0


@dataclass(frozen=True, slots=True)
class KnownPeer:
    """A verified peer. reputation: 0.0 bad to 1.0 excellent (row SEC-08), apart from its score (resolution E5).

    Times are Unix seconds; last_seen: when we last talked to it; origin: the group of addresses that it was first heard
    of from; addresses: where it is said to be reached.
    """

    identity: PowIdentity
    reputation: float
    first_seen: float
    last_seen: float
    origin: str
    addresses: tuple[str, ...]

    def may_connect(self, now: float) -> bool:
        """Whether its score admits it (row POW-39)."""
        return admits(self.identity.score(now)) and not self.identity.expired(int(now))

    @property
    def routes(self) -> bool:
        """Whether frames are routed over it (resolution E6)."""
        return self.reputation >= ROUTING_REPUTATION

    @property
    def trusted(self) -> bool:
        """Whether it counts as a path of its own (resolution E6)."""
        return self.reputation >= TRUSTED_REPUTATION


def peers_path() -> Path:
    """Where this computer remembers its peers."""
    return data_home() / "identity" / "peers.sqlite"


class PeerCache:
    """Verified peers by PeerId, and the arrivals of the last week for the Sybil detector.

    Full, it loses those that have expired, then the least worth: of the lowest reputation the one we have known for the
    shortest time, of those the one not seen for longest. So newcomers push out one another, not whom we know. Of
    arrivals the oldest go; a renewal pushes out renewals alone. Methods raise DiskFull, PortBusy, PortError. A call
    takes well under a millisecond, but one for 10,000 arrivals some 50.
    """

    def __init__(
        self,
        path: Path,
        *,
        most_peers: int = MOST_PEERS,
        most_arrivals: int = MOST_ARRIVALS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open or begin the cache; raises what `open_database` raises. set_aside: the damaged one that was there."""
        self.path = path
        opened = open_database(path, PEERS, clock)
        self.set_aside = opened.set_aside
        self._database = opened.connection
        self._most_peers = most_peers
        self._most_arrivals = most_arrivals
        self._peers = self._count("peers")
        self._arrivals = self._count("arrivals")

    def __len__(self) -> int:
        return self._peers

    def close(self) -> None:
        """Write what is left and close; nothing if it is closed."""
        with told(self.path):
            self._database.close()

    def remember(
        self, identity: PowIdentity, record: bytes, now: float, origin: str, addresses: tuple[str, ...] = ()
    ) -> bool:
        """Keep a verified identity with the record it came in; whether its peer is new here.

        A later proof of a known peer takes the place of the old one. Nothing else of it changes, and an old record, or
        the same work with other dates, changes nothing at all: anybody may have brought it (row SEC-05). What is known
        first-hand goes to `seen`. An arrival is noted once for each proof of work.
        """
        known = self.get(identity.peer_id)
        if known is None:
            self._insert(identity, record, now, origin, addresses)
            self._note(identity, now, origin, addresses, renewal=False)
            self._make_room(identity.peer_id, now)
            return True
        if _is_later(identity, known.identity):
            self._do(
                "UPDATE peers SET record = ?, expires_at = ? WHERE peer_id = ?",
                record,
                _bounded(identity.expires_at),
                identity.peer_id,
            )
            self._note(identity, now, origin, addresses, renewal=True)
        return False

    def is_new_work(self, identity: PowIdentity) -> bool:
        """Whether nobody has brought this proof of work before, nor a later one of the same peer."""
        known = self.get(identity.peer_id)
        return (known is None or _is_later(identity, known.identity)) and not self._has_come(identity)

    def get(self, peer_id: bytes) -> KnownPeer | None:
        """What is known of a peer. A row whose record does not verify any more is removed."""
        row = self._one(
            "SELECT record, reputation, first_seen, last_seen, origin, addresses FROM peers WHERE peer_id = ?", peer_id
        )
        if row is None:
            return None
        record, reputation, first_seen, last_seen, origin, addresses = row
        try:
            identity = _verified(record)
            if identity.peer_id != peer_id:
                raise ValueError
            return KnownPeer(identity, reputation, first_seen, last_seen, origin, _addresses(addresses))
        except (IdentityRefused, ValueError, TypeError):
            self.forget(peer_id)
            return None

    def score(self, peer_id: bytes, now: float) -> float:
        """What a peer counts for at that time; 0.0 if it is unknown or has expired (row POW-34)."""
        known = self.get(peer_id)
        if known is None or known.identity.expired(int(now)):
            return score_of(None, now)
        return known.identity.score(now)

    def may_connect(self, peer_id: bytes, now: float) -> bool:
        """Whether a peer is admitted (row POW-39); none is that we do not know."""
        return admits(self.score(peer_id, now))

    def seen(self, peer_id: bytes, now: float, addresses: tuple[str, ...] | None = None) -> None:
        """Note that we talked to a peer that has proven its key, and where it is; nothing if it is unknown."""
        self._do("UPDATE peers SET last_seen = max(last_seen, ?) WHERE peer_id = ?", now, peer_id)
        if addresses is not None:
            self._do("UPDATE peers SET addresses = ? WHERE peer_id = ?", json.dumps(addresses), peer_id)

    def set_reputation(self, peer_id: bytes, reputation: float) -> None:
        """Set a peer's reputation, held within 0 to 1; nothing if it is unknown. Raises ValueError for NaN."""
        if reputation != reputation:
            raise ValueError("a reputation is no NaN")
        self._do("UPDATE peers SET reputation = ? WHERE peer_id = ?", min(1.0, max(0.0, reputation)), peer_id)

    def forget(self, peer_id: bytes) -> None:
        """Remove a peer; its arrival stays."""
        self._peers -= self._do("DELETE FROM peers WHERE peer_id = ?", peer_id)

    def prune(self, now: float) -> int:
        """Remove peers that have expired, and arrivals older than a week; how many peers there were (row POW-08)."""
        pruned = self._do("DELETE FROM peers WHERE expires_at < ?", now)
        self._peers -= pruned
        self._arrivals -= self._do("DELETE FROM arrivals WHERE first_seen < ?", now - MEMORY_S)
        return pruned

    def peer_ids(self) -> list[bytes]:
        """The PeerIds of all, those seen last first."""
        return [row[0] for row in self._all("SELECT peer_id FROM peers ORDER BY last_seen DESC")]

    def arrivals(self, now: float) -> list[Arrival]:
        """Those of the last week, in the order of first_seen. A row that cannot be read is removed."""
        rows = self._all(
            "SELECT number, peer_id, challenge_data, difficulty, computed_at, created_at, first_seen, origin, "
            "addresses, renewal FROM arrivals WHERE first_seen > ? AND first_seen <= ? ORDER BY first_seen",
            now - MEMORY_S,
            now,
        )
        found = []
        for number, *row in rows:
            try:
                found.append(_arrival(*row))
            except (ValueError, TypeError):
                self._arrivals -= self._do("DELETE FROM arrivals WHERE number = ?", number)
        if len(found) < len(rows):
            _log.warning("%d arrivals in %s could not be read and are removed", len(rows) - len(found), self.path)
        return found

    def latest_arrival(self) -> int:
        """The number of the latest, which grows with each; 0 if there is none."""
        row = self._one("SELECT max(number) FROM arrivals")
        return int(row[0] or 0) if row else 0

    def watching_since(self, now: float) -> float:
        """Since when arrivals were noted without a gap of an hour or more; call it while watching."""
        row = self._one("SELECT since, until FROM watched")
        since = now if row is None or not row[0] <= row[1] <= now <= row[1] + _GAP_S else float(row[0])
        self._do("INSERT OR REPLACE INTO watched VALUES (0, ?, ?)", since, now)
        return since

    def _insert(
        self, identity: PowIdentity, record: bytes, now: float, origin: str, addresses: tuple[str, ...]
    ) -> None:
        self._peers += self._do(
            "INSERT INTO peers VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            identity.peer_id,
            record,
            _bounded(identity.expires_at),
            NEUTRAL_REPUTATION,
            now,
            now,
            origin,
            json.dumps(addresses),
        )

    def _note(
        self, identity: PowIdentity, now: float, origin: str, addresses: tuple[str, ...], *, renewal: bool
    ) -> None:
        if self._has_come(identity):
            return
        solution = identity.pow_solution
        self._arrivals += self._do(
            "INSERT INTO arrivals VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            identity.peer_id,
            solution.challenge.challenge_data,
            identity.difficulty,
            _bounded(solution.computed_at),
            _bounded(identity.created_at),
            now,
            origin,
            json.dumps(addresses),
            renewal,
        )
        if self._arrivals > self._most_arrivals:
            # One peer can renew without end: what it pushes out must not be how others came.
            among = "WHERE renewal" if renewal else ""
            self._arrivals -= self._do(
                f"DELETE FROM arrivals WHERE number = (SELECT min(number) FROM arrivals {among})"
            )

    def _has_come(self, identity: PowIdentity) -> bool:
        row = self._one(
            "SELECT 1 FROM arrivals WHERE peer_id = ? AND challenge_data = ?",
            identity.peer_id,
            identity.pow_solution.challenge.challenge_data,
        )
        return row is not None

    def _make_room(self, newcomer: bytes, now: float) -> None:
        if self._peers > self._most_peers:
            self._peers -= self._do("DELETE FROM peers WHERE expires_at < ?", now)
        while self._peers > self._most_peers:
            self._peers -= self._do(
                "DELETE FROM peers WHERE peer_id = (SELECT peer_id FROM peers WHERE peer_id != ? "
                "ORDER BY reputation, last_seen - first_seen, last_seen LIMIT 1)",
                newcomer,
            )

    def _count(self, table: str) -> int:
        row = self._one(f"SELECT count(*) FROM {table}")
        return int(row[0]) if row else 0

    def _do(self, statement: str, *values: Any) -> int:
        with told(self.path):
            return self._database.execute(statement, values).rowcount

    def _one(self, question: str, *values: Any) -> tuple[Any, ...] | None:
        with told(self.path):
            row: tuple[Any, ...] | None = self._database.execute(question, values).fetchone()
            return row

    def _all(self, question: str, *values: Any) -> list[tuple[Any, ...]]:
        with told(self.path):
            return self._database.execute(question, values).fetchall()


def _verified(record: bytes) -> PowIdentity:
    # As of its beginning: one that has expired meanwhile is still known, and known to have expired.
    found = identity_record.parse(record)
    return from_record(record, int(found["created_at"]) if found else 0, DEVELOPMENT_BASE)


def _is_later(identity: PowIdentity, known: PowIdentity) -> bool:
    # By the challenge's time, the only one that is hashed: a later one takes work anew. The others can be set at will,
    # each time a second later, and signed again.
    return identity.pow_solution.challenge.timestamp > known.pow_solution.challenge.timestamp


def _addresses(text: Any) -> tuple[str, ...]:
    # What json.dumps made of them. Raises ValueError, TypeError.
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("no addresses") from None
    if not isinstance(found, list) or not all(isinstance(address, str) for address in found):
        raise ValueError("no addresses")
    return tuple(found)


def _arrival(
    peer_id: bytes,
    challenge_data: bytes,
    difficulty: int,
    computed_at: float,
    created_at: float,
    first_seen: float,
    origin: str,
    addresses: str,
    renewal: int,
) -> Arrival:
    # A row of the table. SQLite holds no column to its type. Raises ValueError, TypeError.
    times = (computed_at, created_at, first_seen)
    if not (
        isinstance(peer_id, bytes)
        and len(peer_id) == ID_SIZE
        and isinstance(challenge_data, bytes)
        and isinstance(difficulty, int)
        and 0 <= difficulty <= DIFFICULTY_MAX
        and all(isinstance(moment, float) and isfinite(moment) for moment in times)
        and isinstance(origin, str)
    ):
        raise ValueError("no arrival")
    return Arrival(
        peer_id,
        challenge_data,
        difficulty,
        computed_at,
        created_at,
        first_seen,
        origin,
        _addresses(addresses),
        bool(renewal),
    )


def _bounded(time_s: int) -> int:
    # SQLite's integers have 63 bits; no clock reaches that.
    return min(time_s, (1 << 63) - 1)
