"""What a gateway relayed, on its way into the ledger: in batches, off the event loop.

The last word about a frame goes to the gateway that sent it when its entry is on the disk. A ledger that fails is told
of and holds nothing up (row MSH-42).
"""

import asyncio
import logging
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from shared_protocol.frame import FLAGS, ID_SIZE, MAX_TTL, RSR, TTL, Header

from ..errors import BitrelayError
from ..mesh.relay_fee import FeeRule
from ..mesh.relay_ledger import RelayEvent, RelayLedger
from .bridge import Down

_log = logging.getLogger(__name__)

GATHER_S: Final = 0.02
MOST_GATHERED: Final = 16_384
"""Events that wait for the disk; when there are more, they are not recorded, and counted."""
_HOPS_OF_TTL = MAX_TTL + 1


class RelayRecord:
    """ledger: None to keep none. failed: called when events could not be recorded, with how many and why."""

    def __init__(
        self,
        ledger: RelayLedger | None,
        rule: FeeRule,
        *,
        wall_ms: Callable[[], int],
        failed: Callable[[int, BitrelayError | None], None],
    ) -> None:
        self.recorded = 0
        self._ledger = ledger
        self._rule = rule
        self._wall_ms = wall_ms
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._gathered: list[tuple[Down, str, int, Callable[[], None] | None]] = []
        self._writing: asyncio.Task[None] | None = None

    def relayed(self, down: Down, target: str, then: Callable[[], None] | None) -> None:
        """A frame went into a mesh; then is called when that is recorded, or will not be."""
        if self._ledger is None:
            if then is not None:
                then()
            return
        if len(self._gathered) >= MOST_GATHERED:
            self._failed(1, None)
            if then is not None:
                then()
            return
        self._gathered.append((down, target, self._wall_ms(), then))
        if self._writing is None:
            self._writing = self._loop.create_task(self._write())

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
                try:
                    await asyncio.to_thread(self._append, self._ledger, batch)
                    self.recorded += len(batch)
                except BitrelayError as error:
                    self._failed(len(batch), error)
                for _, _, _, then in batch:
                    if then is not None:
                        then()
        finally:
            self._writing = None

    def _append(self, ledger: RelayLedger, batch: list[tuple[Down, str, int, Callable[[], None] | None]]) -> None:
        ledger.append([self._event(down, target, time_ms) for down, target, time_ms, _ in batch])

    def _event(self, down: Down, target: str, time_ms: int) -> RelayEvent:
        return relay_event(down, target, time_ms, self._rule)

    async def _prune(self, ledger: RelayLedger, keep_s: float) -> None:
        try:
            await asyncio.to_thread(ledger.prune, keep_s)
        except BitrelayError as error:
            self._failed(0, error)
        finally:
            self._writing = None


def relay_event(down: Down, target: str, time_ms: int, rule: FeeRule) -> RelayEvent:
    """What the ledger has of a frame that went into a mesh."""
    hops = _HOPS_OF_TTL - down.value[TTL]
    return RelayEvent(
        packet_hash(down.value),
        down.frame.sender,
        down.frame.recipient or bytes(ID_SIZE),
        hops,
        down.origin,
        target,
        time_ms,
        rule.fee(hops),
    )


def packet_hash(value: bytes) -> bytes:
    """SHA-256 of a frame without its padding, with TTL 0 and without RSR: alike wherever it is seen."""
    size = Header().parse(value, len(value))
    image = bytearray(value[:size] if size > 0 else value)
    image[TTL] = 0
    image[FLAGS] &= ~RSR
    return sha256(image).digest()
