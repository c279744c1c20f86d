"""What a gateway relayed, on its way into the ledger: in batches, off the event loop.

The last word about a frame goes to the gateway that sent it when its entry is on the disk. A ledger that fails is told
of and holds nothing up (row MSH-42).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..errors import BitrelayError
from ..mesh.relay_fee import FeeRule
from ..mesh.relay_ledger import RelayLedger
from .bridge import Down
from .receipts import event_of

GATHER_S: Final = 0.02
MOST_GATHERED: Final = 8192
"""Events that wait for the disk; when there are so many, nothing more goes into a mesh until they are there."""
RECENT_MS: Final = 300_000
MOST_RECENT: Final = 20_000


@dataclass(frozen=True, slots=True)
class _Sent:
    down: Down
    target: str
    time_ms: int
    waited_ms: float
    then: Callable[[], None] | None


class RelayRecord:
    """ledger: None to keep none. failed: called when events could not be recorded, with how many and why."""

    def __init__(
        self,
        ledger: RelayLedger | None,
        rule: FeeRule,
        *,
        wall_ms: Callable[[], int],
        failed: Callable[[int, BitrelayError], None],
    ) -> None:
        self.recorded = 0
        self._ledger = ledger
        self._rule = rule
        self._wall_ms = wall_ms
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._gathered: list[_Sent] = []
        self._taken = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None

    def recent(self) -> set[tuple[str, bytes]]:
        """What was relayed before the last start and may still be about: meshes and hashes of frames. May block."""
        if self._ledger is None:
            return set()
        since = self._wall_ms() - RECENT_MS
        entries = self._ledger.entries(max(0, self._ledger.last - MOST_RECENT), MOST_RECENT)
        return {(entry.event.target, entry.event.packet_hash) for entry in entries if entry.event.time_ms >= since}

    def relayed(self, down: Down, target: str, waited_ms: float, then: Callable[[], None] | None) -> None:
        """A frame went into a mesh so long after it was heard; then is called when that is recorded, or will not be."""
        if self._ledger is None:
            if then is not None:
                then()
            return
        self._gathered.append(_Sent(down, target, self._wall_ms(), waited_ms, then))
        if self._writing is None:
            self._writing = self._loop.create_task(self._write())

    async def room(self) -> None:
        """Wait until more can be taken. Lets others have a turn in any case."""
        while len(self._gathered) >= MOST_GATHERED:
            self._taken.clear()
            await self._taken.wait()
        await asyncio.sleep(0)

    async def close(self) -> None:
        """Have all of it on the disk, and close the ledger."""
        while self._writing is not None:
            await asyncio.wait((self._writing,))
        if self._ledger is not None:
            self._ledger.close()

    async def prune(self, keep_s: float) -> None:
        """Let go of old entries."""
        if self._ledger is not None:
            while self._writing is not None:
                await asyncio.wait((self._writing,))
            self._writing = self._loop.create_task(self._prune(self._ledger, keep_s))
            await asyncio.wait((self._writing,))

    async def _write(self) -> None:
        assert self._ledger is not None
        try:
            await asyncio.sleep(GATHER_S)
            while self._gathered:
                batch, self._gathered = self._gathered, []
                self._taken.set()
                try:
                    await asyncio.to_thread(self._append, self._ledger, batch)
                    self.recorded += len(batch)
                except BitrelayError as error:
                    self._failed(len(batch), error)
                for sent in batch:
                    if sent.then is not None:
                        sent.then()
        finally:
            self._writing = None

    def _append(self, ledger: RelayLedger, batch: list[_Sent]) -> None:
        ledger.append(
            [event_of(s.down.frame, s.down.origin, s.target, s.time_ms, self._rule, s.waited_ms) for s in batch]
        )

    async def _prune(self, ledger: RelayLedger, keep_s: float) -> None:
        try:
            await asyncio.to_thread(ledger.prune, keep_s)
        except BitrelayError as error:
            self._failed(0, error)
        finally:
            # What came meanwhile waits for nobody else.
            self._writing = self._loop.create_task(self._write()) if self._gathered else None
