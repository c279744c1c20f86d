"""Nodes in the local network: found, and let find this one, by multicast DNS (`_bitrelay._udp.local.`).

What is found is an address to ask, no more: who is there has to prove it as everybody does.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from typing import Final

from zeroconf import BadTypeInNameException, IPVersion, ServiceInfo, ServiceStateChange, Zeroconf
from zeroconf import Error as ZeroconfError
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from ..errors import PortError
from ..transports.address import Udp
from .observed import version_of
from .places import Reach, reach

SERVICE: Final = "_bitrelay._udp.local."
RESOLVE_TIMEOUT_MS: Final = 3000
MOST_FOUND: Final = 256
"""Addresses that wait to be asked; more that are announced meanwhile are dropped, and counted."""

_MOST_RESOLVING: Final = 32
_MOST_ADDRESSES: Final = 4  # of one node
_SHOWN_ID: Final = 16
_MULTICAST_DNS: Final = ("224.0.0.251", 5353)


class LanDiscovery:
    """Announces a node and looks for others. interfaces: IP addresses of ours to do it on; None means all."""

    def __init__(self, node_id: bytes, bound: Sequence[Udp], interfaces: Sequence[str] | None = None) -> None:
        self.dropped = 0
        self._node_id = node_id
        self._bound = bound
        self._interfaces = interfaces
        # Loopback is no place to tell others of, nor to be sent to by them, unless all of this is on loopback.
        self._nowhere = (Reach.NOWHERE,) if _all_loopback(interfaces) else (Reach.NOWHERE, Reach.HOST)
        self._found: asyncio.Queue[Udp] = asyncio.Queue(MOST_FOUND)
        self._resolving: set[asyncio.Task[None]] = set()
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None

    async def start(self) -> None:
        """Raises PortError if there is no multicast here."""
        try:
            if self._interfaces is None:
                self._zeroconf = AsyncZeroconf()
            else:
                self._zeroconf = AsyncZeroconf(interfaces=list(self._interfaces))
            info = self.announcement()
            if info is not None:
                await self._zeroconf.async_register_service(info)
        except (OSError, ZeroconfError) as error:
            await self.close()
            raise PortError(f"the local network cannot be searched: {error}") from None
        self._browser = AsyncServiceBrowser(self._zeroconf.zeroconf, SERVICE, handlers=[self._changed])

    def announcement(self) -> ServiceInfo | None:
        """What others are told; None if there is no address to tell."""
        if not self._bound:
            return None
        # A service has one port.
        places = [place for place in self._bound if place.port == self._bound[0].port]
        hosts = [host for place in places for host in self._hosts(place)]
        if not hosts:
            return None
        label = self._node_id.hex()[:_SHOWN_ID]
        return ServiceInfo(
            SERVICE,
            f"{label}.{SERVICE}",
            places[0].port,
            addresses=[ipaddress.ip_address(host).packed for host in hosts],
            properties={"id": self._node_id.hex()},
            server=f"bitrelay-{label}.local.",
        )

    async def next(self) -> Udp:
        """The next address at which a node is said to be. Waits for it."""
        return await self._found.get()

    async def close(self) -> None:
        """Take the announcement back. Harmless when it is closed."""
        for task in self._resolving:
            task.cancel()
        await asyncio.gather(*self._resolving, return_exceptions=True)
        if self._browser is not None:
            await self._browser.async_cancel()
            self._browser = None
        if self._zeroconf is not None:
            await self._zeroconf.async_close()
            self._zeroconf = None

    def _changed(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change is ServiceStateChange.Removed or name.startswith(self._node_id.hex()[:_SHOWN_ID]):
            return
        if len(self._resolving) >= _MOST_RESOLVING:
            self.dropped += 1
            return
        task = asyncio.get_running_loop().create_task(self._resolve(zeroconf, name))
        self._resolving.add(task)
        task.add_done_callback(self._resolving.discard)

    async def _resolve(self, zeroconf: Zeroconf, name: str) -> None:
        try:
            info = AsyncServiceInfo(SERVICE, name)
            if await info.async_request(zeroconf, RESOLVE_TIMEOUT_MS):
                self.take(info)
        except BadTypeInNameException:
            self.dropped += 1

    def take(self, info: ServiceInfo) -> None:
        """Note where an announced node is said to be."""
        for packed in info.addresses_by_version(IPVersion.All)[:_MOST_ADDRESSES]:
            host = str(ipaddress.ip_address(packed))
            if not info.port or reach(host) in self._nowhere or self._found.full():
                self.dropped += 1
            else:
                self._found.put_nowait(Udp(host, info.port))

    def _hosts(self, place: Udp) -> list[str]:
        if ipaddress.ip_address(place.host).is_unspecified:
            return list(self._interfaces or _default_interface()) if version_of(place) == 4 else []
        return [] if reach(place.host) in self._nowhere else [place.host]


def _all_loopback(interfaces: Sequence[str] | None) -> bool:
    return bool(interfaces) and all(reach(host) is Reach.HOST for host in interfaces or ())


def _default_interface() -> list[str]:
    # The address of ours that multicast leaves from; nothing is sent.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_MULTICAST_DNS)
        except OSError:
            return []
        return [probe.getsockname()[0]]
