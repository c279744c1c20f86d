"""Keeps links to relays: every ten seconds it looks at who is there and does what the policy says (DSC-04)."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from bleak.backends.device import BLEDevice

from ..errors import BitrelayError, NoDevice
from ..identity.greeting import TIMEOUT_S as HELLO_TIMEOUT_S
from .discovery import Discovery
from .events import DisconnectReason
from .link import CONNECT_TIMEOUT_S
from .peers import DiscoveredPeer
from .policy import TICK_S, HeldLink, Limits, backoff_s, plan
from .session import LocalNode, Session


@dataclass(frozen=True)
class BleStatistics:
    """What Bluetooth did so far (BLE-14). A computer is central only: it has no peripheral links, and combined counts
    are those of the central role."""

    central_connections: int
    peripheral_connections: int
    bytes_sent: int
    bytes_received: int
    peers_discovered: int
    connection_attempts: int
    connection_successes: int
    connection_failures: int


@dataclass(frozen=True)
class _Held:
    session: Session
    since: float


class Connections:
    """Links to peers of a Discovery, by the peers' numbers; the events go to the Discovery's listener.

    Run discovery.run() and run() side by side, or call tick() for one step. One link is made at a time: a computer's
    adapter can do no more. on_session gets each new session.
    """

    def __init__(
        self,
        discovery: Discovery,
        node: LocalNode,
        *,
        limits: Limits | None = None,
        rng: random.Random | None = None,
        on_session: Callable[[DiscoveredPeer, Session], None] | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        hello_timeout_s: float = HELLO_TIMEOUT_S,
    ) -> None:
        self.limits = limits or Limits()
        self.on_session = on_session
        self._discovery = discovery
        self._node = node
        self._random = rng or random.Random()
        self._connect_timeout_s = connect_timeout_s
        self._hello_timeout_s = hello_timeout_s
        self._held: dict[int, _Held] = {}
        self._attempts = 0
        self._failures = 0
        self._ended_bytes = [0, 0]
        self._lock = asyncio.Lock()

    @property
    def sessions(self) -> dict[int, Session]:
        """The sessions that are up, by their peers' numbers."""
        return {number: held.session for number, held in self._held.items()}

    def statistics(self) -> BleStatistics:
        """The counts until now; bytes are those of frames."""
        links = [held.session.link for held in self._held.values()]
        return BleStatistics(
            central_connections=len(links),
            peripheral_connections=0,
            bytes_sent=self._ended_bytes[0] + sum(link.bytes_out for link in links),
            bytes_received=self._ended_bytes[1] + sum(link.bytes_in for link in links),
            peers_discovered=self._discovery.peers.discovered,
            connection_attempts=self._attempts,
            connection_successes=self._attempts - self._failures,
            connection_failures=self._failures,
        )

    async def run(self, tick_s: float = TICK_S) -> None:
        """Look every tick until cancelled; then all links are closed."""
        try:
            while True:
                await self._discovery.clock.sleep(tick_s)
                await self.tick()
        finally:
            await self.close()

    async def tick(self) -> None:
        """Do once what the policy says now."""
        now = self._discovery.clock.now()
        held = [HeldLink(number, one.since) for number, one in self._held.items()]
        todo = plan(self._discovery.peers, held, self.limits, now)
        for peer in todo.dial:
            await self._try(peer)
        if todo.handover is not None:
            better, fading = todo.handover
            # The old link goes only when the new one is up.
            if await self._try(better):
                await self.disconnect(fading.number, DisconnectReason.HANDOVER)

    async def connect(self, number: int) -> Session:
        """Connect to a peer of the table now, whatever the policy says. Raises what Session.open() does, and NoDevice
        for a peer that is not there (any more)."""
        async with self._lock:
            if number in self._held:
                return self._held[number].session
            peer = self._discovery.peers.get(number)
            if peer is None or peer.device is None:
                raise NoDevice("this peer is not in reach any more")
            return await self._open(peer, peer.device)

    async def disconnect(self, number: int, reason: DisconnectReason = DisconnectReason.USER_REQUESTED) -> None:
        """Close the link to a peer; PeerDisconnected tells the reason (BLE-09). Harmless when there is none."""
        if held := self._held.get(number):
            await held.session.link.close(reason)

    async def close(self) -> None:
        """Close all links."""
        for number in list(self._held):
            await self.disconnect(number, DisconnectReason.SHUTDOWN)

    async def _try(self, peer: DiscoveredPeer) -> bool:
        try:
            await self.connect(peer.number)
        except BitrelayError:
            return False  # it is counted, and the peer left alone for a while; of a broken adapter the scan tells
        return True

    async def _open(self, peer: DiscoveredPeer, device: BLEDevice) -> Session:
        discovery = self._discovery
        self._attempts += 1
        try:
            session = await Session.open(
                device,
                discovery.adapter,
                self._node,
                discovery.clock,
                expected_id=peer.on_air_id,
                timeout=self._connect_timeout_s,
                hello_timeout=self._hello_timeout_s,
            )
        except BaseException:
            self._failures += 1
            wait_s = backoff_s(peer.connection_attempts + 1, self._random.random())
            discovery.peers.attempted(peer.number, discovery.clock.now() + wait_s)
            raise
        now = discovery.clock.now()
        self._held[peer.number] = _Held(session, now)
        session.link.on_closed = lambda: self._closed(peer.number)
        session.on_claim = lambda claim: discovery.peers.claimed(peer.number, claim.peer_id)
        discovery.tell(*discovery.peers.connected(peer.number, now))
        if session.claim is not None:
            session.on_claim(session.claim)
        if self.on_session:
            self.on_session(peer, session)
        return session

    def _closed(self, number: int) -> None:
        held = self._held.pop(number, None)
        if held is None:
            return
        link = held.session.link
        self._ended_bytes[0] += link.bytes_out
        self._ended_bytes[1] += link.bytes_in
        now = self._discovery.clock.now()
        # A link that broke is tried again soon, not at once: what broke it may still be there.
        wait_s = backoff_s(1, self._random.random())
        reason = link.reason or DisconnectReason.LINK_LOST
        self._discovery.tell(*self._discovery.peers.disconnected(number, now, reason, now + wait_s))
