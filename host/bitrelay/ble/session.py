"""A link with an understanding: the hellos of both ends have been exchanged, and what the peer says it is, is known.

The peer is held to what it advertised (BLE-08): a hello of somebody else ends the link, and an id of zeros counts as
none. Signed packets of somebody else may have come over several relays; they change nothing. Whom the peer claims to be
is a claim until a Noise session has proved it (identity/session.py).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from bleak.backends.device import BLEDevice

from shared_protocol import versions
from shared_protocol.frame import ID_SIZE, TYPE_HELLO, TYPE_IDENTITY, Header
from shared_protocol.pow import DIFFICULTY_BASE

from ..errors import DeviceLost, PeerError
from ..identity.greeting import TIMEOUT_S, Greeting, Terms
from .adapter import Adapter
from .claim import ClaimedIdentity, claimed_in, may_claim
from .clock import Clock
from .events import DisconnectReason
from .link import CONNECT_TIMEOUT_S, BleLink

# A verification takes 0.1 ms here; a peer that sends forgeries is not worth more of them.
_MAX_TRIES = 16


@dataclass(frozen=True)
class LocalNode:
    """Who this computer is on the air. on_air_id has 8 bytes; peer_id, if it has one, 32."""

    on_air_id: bytes
    peer_id: bytes | None = None
    version: tuple[int, int, int] = versions.CURRENT


class Session:
    """A link and what is known of its other end. Made by open().

    claim is what signed packets say of the peer: they name the id that it advertised or said hello with, and the PeerId
    of its hello if that has one. Nothing is proved by it. None until there was one; on_claim is called with each.
    """

    def __init__(
        self, node: LocalNode, expected_id: bytes | None, clock: Clock, hello_timeout: float, difficulty: int
    ) -> None:
        self.link: BleLink
        self.claim: ClaimedIdentity | None = None
        self.on_claim: Callable[[ClaimedIdentity], None] = lambda _claim: None
        self._greeting = Greeting(node.on_air_id, version=node.version, peer_id=node.peer_id, timeout_s=hello_timeout)
        self._expected_id = expected_id
        self._clock = clock
        self._difficulty = difficulty
        self._heard = asyncio.Event()
        self._claimed = asyncio.Event()
        self._trouble: DisconnectReason | None = None
        self._tries = 0
        self._is_open = False
        self._hanging_up: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        device: BLEDevice,
        adapter: Adapter,
        node: LocalNode,
        clock: Clock,
        *,
        expected_id: bytes | None = None,
        timeout: float = CONNECT_TIMEOUT_S,
        hello_timeout: float = TIMEOUT_S,
        difficulty: int = DIFFICULTY_BASE,
    ) -> Self:
        """Connect and come to terms. Raises what BleLink.open() does, IncompatiblePeer, and PeerError for a peer that
        is not expected_id."""
        session = cls(node, expected_id, clock, hello_timeout, difficulty)
        link = session.link = await BleLink.open(device, adapter, on_frame=session._take, timeout=timeout)
        try:
            await session._greet()
        except BaseException:
            await link.close()
            raise
        if session._trouble is not None:
            await link.close(session._trouble)
            session.terms.demand_compatible()
            raise PeerError(
                "it is not the one that its advertisement named", device=link.address, hint="Listen for it again."
            )
        if not link.is_open:
            raise DeviceLost("the link ended as it began", device=link.address)
        session._is_open = True
        return session

    @property
    def terms(self) -> Terms:
        """What holds on the link now; what the peer says of itself there is not proved."""
        return self._greeting.terms

    @property
    def claimed_id(self) -> bytes | None:
        """The on-air id that the peer said hello with, None if it did not or has none."""
        return _unless_zero(self.terms.on_air_id)

    async def heard_claim(self, timeout: float) -> ClaimedIdentity | None:
        """Wait until a signed packet says who the peer is; None if none has within `timeout` seconds or the link
        ended."""
        await self._wait(self._claimed, timeout)
        return self.claim

    async def _greet(self) -> None:
        greeting = self._greeting
        await self.link.send(greeting.start(self._clock.now(), self._clock.unix_ms()))
        while self.link.is_open and (deadline := greeting.deadline) is not None:
            await self._wait(self._heard, deadline - self._clock.now())
            greeting.expire(self._clock.now())

    async def _wait(self, event: asyncio.Event, timeout: float) -> None:
        # Until the event, the end of the link or the timeout, whichever comes first.
        waits = [asyncio.ensure_future(one.wait()) for one in (event, self.link.closed)]
        try:
            await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _take(self, frame: bytes, header: Header) -> bool:
        if header.type == TYPE_HELLO:
            terms = self._greeting.on_frame(frame)
            if terms is not None:
                self._come_to(terms)
            return terms is None
        # A record says more than an announce, and after one there is nothing left to find out.
        is_news = self.claim is None or (self.claim.work is None and header.type == TYPE_IDENTITY)
        if is_news and self._tries < _MAX_TRIES and may_claim(header) and self._is_of_peer(frame, header):
            self._tries += 1
            claim = claimed_in(frame, header, self._clock.unix_ms(), self._difficulty)
            if claim is not None and self._fits_hello(claim):
                self.claim = claim
                self._claimed.set()
                self.on_claim(claim)
        return True

    def _come_to(self, terms: Terms) -> None:
        if terms.mode == versions.INCOMPATIBLE:
            self._object(DisconnectReason.INCOMPATIBLE)
        elif self._expected_id is not None and self.claimed_id not in (None, self._expected_id):
            self._object(DisconnectReason.WRONG_PEER)
        if self.claim is not None and not self._fits_hello(self.claim):
            self.claim = None
            self._claimed.clear()
        self._heard.set()

    def _is_of_peer(self, frame: bytes, header: Header) -> bool:
        # Without an id to compare with, nobody could tell whose packet it is.
        return frame[header.sender_at : header.sender_at + ID_SIZE] == (self._expected_id or self.claimed_id)

    def _fits_hello(self, claim: ClaimedIdentity) -> bool:
        return _unless_zero(self.terms.peer_id) in (None, claim.peer_id)

    def _object(self, reason: DisconnectReason) -> None:
        self._trouble = reason
        if self._is_open and self._hanging_up is None:
            # Found out later: nobody waits in open() any more who would hang up.
            self._hanging_up = asyncio.get_running_loop().create_task(self.link.close(reason))


def _unless_zero(value: bytes | None) -> bytes | None:
    return value if value and any(value) else None
