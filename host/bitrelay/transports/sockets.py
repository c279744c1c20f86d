"""What sockets say, in this package's words."""

import asyncio
import errno
import ipaddress
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Any, Final

from ..errors import BitrelayError, PortBusy, PortError, Unreachable, WrongAddress
from .address import HostAddress
from .pipe import Pipe

STAGGER_S: Final = 0.25
"""Between dialling one address of a host and the next (RFC 8305)."""
_MOST_PLACES: Final = 4


def listening_error(address: HostAddress, error: OSError | UnicodeError) -> BitrelayError:
    """Why nothing listens there."""
    # A name with a part that is too long is a UnicodeError.
    if isinstance(error, UnicodeError | socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return WrongAddress(f"{address.host} is no address of this computer")
    if error.errno == errno.EADDRINUSE:
        return PortBusy("another program listens there", device=str(address))
    return PortError(f"cannot listen: {error.strerror or error}", device=str(address))


def opening_error(address: HostAddress, error: Exception) -> Unreachable:
    """Why nobody is reached there."""
    said = error.strerror if isinstance(error, OSError) else None
    return Unreachable(f"nobody was reached: {said or error or type(error).__name__}", device=str(address))


async def resolve(address: HostAddress, *, passive: bool = False) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """A few families and socket addresses of a host, for datagrams.

    passive: to listen at. Raises Unreachable, or WrongAddress if passive.
    """
    loop = asyncio.get_running_loop()
    flags = socket.AI_PASSIVE if passive else 0
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM, flags=flags)
    except (OSError, UnicodeError) as error:
        if passive:
            raise WrongAddress(f"{address.host} is no address of this computer") from None
        raise opening_error(address, error) from None
    places = [(family, place) for family, _, _, _, place in found if family in (socket.AF_INET, socket.AF_INET6)]
    return places[:_MOST_PLACES]  # type: ignore[return-value]


async def first_opened(attempts: Iterable[Callable[[], Coroutine[Any, Any, Pipe]]]) -> Pipe:
    """The pipe of the first attempt to succeed. Each begins when one has failed, or STAGGER_S after the one before.

    Raises what the last one to fail raises.
    """
    left = deque(attempts)
    running: set[asyncio.Task[Pipe]] = set()
    opened: list[Pipe] = []
    failure = Unreachable("the host has no address")
    try:
        while not opened and (left or running):
            if left:
                running.add(asyncio.create_task(left.popleft()()))
            done, running = await asyncio.wait(
                running, timeout=STAGGER_S if left else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                try:
                    opened.append(task.result())
                except Unreachable as error:
                    failure = error
    finally:
        for task in running:
            task.cancel()
        late = await asyncio.gather(*running, return_exceptions=True)
        for pipe in (*opened[1:], *late):
            if isinstance(pipe, Pipe):
                pipe.abort()
    if not opened:
        raise failure
    return opened[0]


def bound(address: HostAddress, place: tuple[str, int]) -> HostAddress:
    """The address that a socket which was to listen at `address` has got, with the port it was given."""
    return replace(address, port=place[1])


def source_of_host(host: str) -> str:
    """Whom what comes is counted for: an IPv4 address, or the /64 of an IPv6 one, which is one household's."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(ip), 64), strict=False))
    return host
