"""Opens a path between two hosts behind address translation: ICE over UDP (RFC 8445), by `aioice`.

Both ends make an offer, tell it the other by whatever way there is between them (a node that both are connected to),
and call connect() with the other's. Datagrams then go straight.
"""

import asyncio
import ipaddress
from collections.abc import Callable, Coroutine
from typing import Any, Final

from aioice import Candidate, Connection

from ..errors import DeviceLost, DeviceTimeout, Unreachable
from ..transports.address import Udp
from .offer import Offer

CONNECT_TIMEOUT_S: Final = 20.0
_CLOSE_TIMEOUT_S = 5.0


class PunchedPath:
    """One end of a path for datagrams. Made with STUN server and role; the two ends must have different roles.

    starts: whether this end began (ICE's controlling agent). stun: where this end learns how it is seen from outside;
    without one only paths in the same network are found.
    """

    def __init__(self, starts: bool, stun: Udp | None = None, *, loopback: bool = False) -> None:
        """loopback: lets a peer name addresses of this very host, which only tests and labs want."""
        self._loopback = loopback
        self._ice = Connection(
            ice_controlling=starts,
            components=1,
            stun_server=(stun.host, stun.port) if stun else None,
            use_ipv6=True,
        )
        self._closed = False
        self.dropped = 0
        """Datagrams that were no good."""

    async def offer(self) -> Offer:
        """This end's offer; its sockets are open from now on. Raises Unreachable when there is no network."""
        await self._ice.gather_candidates()
        for protocol in self._ice._protocols:
            protocol.datagram_received = self._guarded(protocol.datagram_received)  # type: ignore[assignment, method-assign]
        candidates = tuple(self._ice.local_candidates)
        if not candidates:
            raise Unreachable("this host has no address that others could reach")
        return Offer(self._ice.local_username, self._ice.local_password, candidates)

    async def connect(self, other: Offer, timeout: float = CONNECT_TIMEOUT_S) -> None:
        """Find a path to the other end, which must be doing the same now. Raises Unreachable, DeviceTimeout."""
        self._ice.remote_username = other.user
        self._ice.remote_password = other.password
        usable = [candidate for candidate in other.candidates if self._may_try(candidate)]
        try:
            async with asyncio.timeout(timeout):
                for candidate in usable:
                    await self._ice.add_remote_candidate(candidate)
                await self._ice.add_remote_candidate(None)
                await self._ice.connect()
        except TimeoutError:
            raise DeviceTimeout("no path to the peer was found in time") from None
        except (ConnectionError, OSError, ValueError):
            raise Unreachable(
                "there is no direct path to the peer", hint="Behind two symmetric NATs there is none."
            ) from None

    async def send(self, datagram: bytes) -> None:
        """Send a datagram; it may be lost. Raises DeviceLost when there is no path (any more)."""
        await self._on_path(self._ice.send(datagram))

    async def receive(self) -> bytes:
        """The next datagram. Raises DeviceLost when there is no path (any more)."""
        received: bytes = await self._on_path(self._ice.recv())
        return received

    async def close(self) -> None:
        """Close the sockets. Harmless when repeated."""
        if self._closed:
            return
        self._closed = True
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._ice.close()
        except TimeoutError:
            pass

    def _guarded(self, take: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        # aioice's parser raises more than its callers expect, and anybody who reaches the port can make it do so.
        def taken(data: Any, source: Any) -> None:
            try:
                take(data, source)
            except Exception:
                self.dropped += 1

        return taken

    def _may_try(self, candidate: Candidate) -> bool:
        host = ipaddress.ip_address(candidate.host)
        return self._loopback or not host.is_loopback

    @staticmethod
    async def _on_path(work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await work
        except ConnectionError:
            raise DeviceLost("the path to the peer is gone") from None
