"""Frames for meshes that cannot be reached, kept until they can or phones would not accept them any more.

In SQLite: what put() has returned for survives the end of the process and of the machine's power. Bounded by count,
bytes and age; when full, the oldest of the lowest class goes.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import DiskFull
from ..sqlite_file import Schema, open_database, told, transaction
from ..transports.fair_queue import Traffic
from .bridge_frame import BridgeFrame, parse_frame
from .config import StoreConfig

FRAMES: Final = Schema(
    application_id=0x42524753,  # "BRGS"
    version=1,
    durable=True,
    # AUTOINCREMENT: the number of a frame that has gone is never another one's.
    tables="""
CREATE TABLE frames (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    target TEXT NOT NULL,
    key BLOB NOT NULL,
    origin TEXT NOT NULL,
    value BLOB NOT NULL,
    size INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    heard_ms INTEGER NOT NULL,
    expires_at REAL NOT NULL,
    UNIQUE (target, key)
);
CREATE INDEX frames_in_order ON frames (target, heard_ms, number);
CREATE INDEX frames_by_rank ON frames (rank DESC, number, size);
CREATE INDEX frames_by_end ON frames (expires_at, size);
""",
)

_BEFORE_ALL: Final = -1 << 63
# The highest goes first when there is no room.
_RANK: Final = {Traffic.INTERACTIVE: 0, Traffic.STREAMING: 1, Traffic.BULK: 2, Traffic.BACKGROUND: 3}


@dataclass(frozen=True, slots=True)
class Stored:
    """number: its place in the order. heard_ms: Unix milliseconds."""

    number: int
    origin: str
    target: str
    frame: BridgeFrame
    heard_ms: int


class FrameStore:
    """The frames that wait, by target mesh, in the order they were heard, whenever they were put. Not for use from
    several threads at once; its calls may block for as long as the disk does, so callers use asyncio.to_thread or
    accept it.

    clock: Unix seconds. expired, dropped: how many went for their age, and for want of room or because they cannot be
    read any more. set_aside: where a damaged file is that was there.
    """

    def __init__(self, path: Path, config: StoreConfig, clock: Callable[[], float]) -> None:
        """Raises what `sqlite_file.open_database` raises."""
        self.path = path
        self.expired = 0
        self.dropped = 0
        self._count: int = 0
        self._bytes: int = 0
        self._config = config
        self._clock = clock
        opened = open_database(path, FRAMES, clock)
        self.set_aside = opened.set_aside
        self._database = opened.connection
        try:
            self._begin()
        except BaseException:
            self._database.close()
            raise

    def put(self, origin: str, target: str, frames: Sequence[tuple[BridgeFrame, float]], heard_ms: int) -> None:
        """As put_all, of frames that were heard at the same time."""
        self.put_all(origin, target, [(frame, until, heard_ms) for frame, until in frames])

    def put_all(self, origin: str, target: str, frames: Sequence[tuple[BridgeFrame, float, int]]) -> None:
        """Keep frames for a mesh, each with the Unix time in seconds until which phones accept it, and the one in
        milliseconds when it was heard; one that is there already (key and target) is left. Raises DiskFull, PortError,
        PortBusy: then none of them is kept."""
        with self._writing():
            for frame, until, heard_ms in frames:
                # A clock that was set back must not keep it for longer.
                latest = min(heard_ms / 1000, self._clock()) + self._config.age_s
                size = len(frame.value)
                new = self._database.execute(
                    "INSERT INTO frames (target, key, origin, value, size, rank, heard_ms, expires_at) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (target, key) DO NOTHING",
                    (
                        target,
                        frame.key,
                        origin,
                        frame.value,
                        size,
                        _RANK[frame.traffic],
                        heard_ms,
                        min(until, latest),
                    ),
                ).rowcount
                self._count += new
                self._bytes += new * size
            self._make_room()

    def first(self, target: str, most: int) -> list[Stored]:
        """The next ones for a mesh that phones still accept, as they were heard; the others are let go and counted, if
        there is room on the disk for that.

        Raises DiskFull, PortError, PortBusy.
        """
        with suppress(DiskFull):
            self.expire()
        found: list[Stored] = []
        after = (_BEFORE_ALL, 0)
        while len(found) < most:
            with told(self.path):
                rows = self._database.execute(
                    "SELECT number, origin, key, value, heard_ms FROM frames WHERE target = ? "
                    "AND (heard_ms, number) > (?, ?) AND expires_at > ? ORDER BY heard_ms, number LIMIT ?",
                    (target, *after, self._clock(), most - len(found)),
                ).fetchall()
            if not rows:
                break
            after = rows[-1][4], rows[-1][0]
            for number, *facts in rows:
                stored = _stored(number, target, *facts)
                if stored is not None:
                    found.append(stored)
                else:
                    self.done([number])
                    self.dropped += 1
        return found

    def done(self, numbers: Sequence[int]) -> None:
        """These arrived, or need not. Raises DiskFull, PortError, PortBusy."""
        with self._writing():
            for number in numbers:
                self._let_go("number = ?", number)

    def targets(self, but: Collection[int] = ()) -> dict[str, int]:
        """How many wait that phones still accept, by mesh, without those of these numbers; none of them is 0.

        Raises PortError, PortBusy.
        """
        wanted = "FROM frames WHERE typeof(target) = 'text' AND expires_at > ?"
        with told(self.path):
            if but:
                rows = self._database.execute(f"SELECT target, number {wanted}", (self._clock(),))
                return dict(Counter(target for target, number in rows if number not in but))
            question = f"SELECT target, count(*) {wanted} GROUP BY target"
            return dict(self._database.execute(question, (self._clock(),)).fetchall())

    def expire(self) -> int:
        """Let go of what is too old; how many that was. Raises DiskFull, PortError, PortBusy."""
        with self._writing():
            return self._expire()

    def close(self) -> None:
        """Harmless when repeated."""
        with told(self.path):
            self._database.close()

    def _begin(self) -> None:
        with self._writing():
            # What is counted and sorted by has to be so: SQLite holds no column to its type.
            wrong = "typeof(size) != 'integer' OR size IS NOT length(value) OR typeof(heard_ms) != 'integer'"
            self.dropped += self._database.execute(f"DELETE FROM frames WHERE {wrong}").rowcount
            question = "SELECT count(*), coalesce(sum(size), 0) FROM frames"
            self._count, self._bytes = self._database.execute(question).fetchone()
            self._make_room()  # it may have been filled by another configuration

    def _expire(self) -> int:
        gone = self._let_go("expires_at <= ?", self._clock())
        self.expired += gone
        return gone

    def _make_room(self) -> None:
        if not self._too_full():
            return
        self._expire()
        going: list[int] = []
        size = 0
        for number, its_size in self._database.execute("SELECT number, size FROM frames ORDER BY rank DESC, number"):
            if not self._too_full(len(going), size):
                break
            going.append(number)
            size += its_size
        for number in going:
            self.dropped += self._let_go("number = ?", number)

    def _too_full(self, gone: int = 0, gone_bytes: int = 0) -> bool:
        return self._count - gone > self._config.frames or self._bytes - gone_bytes > self._config.bytes

    def _let_go(self, which: str, value: float) -> int:
        question = f"SELECT count(*), coalesce(sum(size), 0) FROM frames WHERE {which}"
        count, size = self._database.execute(question, (value,)).fetchone()
        if count:
            self._database.execute(f"DELETE FROM frames WHERE {which}", (value,))
            self._count -= count
            self._bytes -= size
        return int(count)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        # What is counted goes back with what was written.
        before = self._count, self._bytes, self.expired, self.dropped
        try:
            with told(self.path), transaction(self._database):
                yield
        except BaseException:
            self._count, self._bytes, self.expired, self.dropped = before
            raise


def _stored(number: int, target: str, origin: object, key: object, value: object, heard_ms: object) -> Stored | None:
    # None for what is not as it was written: SQLite holds no column to its type.
    if not (isinstance(origin, str) and isinstance(value, bytes) and isinstance(heard_ms, int)):
        return None
    frame = parse_frame(value)
    return Stored(number, origin, target, frame, heard_ms) if frame is not None and frame.key == key else None
