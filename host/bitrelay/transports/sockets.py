"""What sockets say, in this package's words."""

import asyncio
import errno
import ipaddress
import socket
from dataclasses import replace

from ..errors import BitrelayError, PortBusy, PortError, Unreachable, WrongAddress
from .address import HostAddress


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
    """Families and socket addresses of a host, for datagrams. Raises Unreachable, WrongAddress if passive."""
    loop = asyncio.get_running_loop()
    flags = socket.AI_PASSIVE if passive else 0
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM, flags=flags)
    except (OSError, UnicodeError) as error:
        if passive:
            raise WrongAddress(f"{address.host} is no address of this computer") from None
        raise opening_error(address, error) from None
    return [(family, place) for family, _, _, _, place in found if family in (socket.AF_INET, socket.AF_INET6)]  # type: ignore[misc]


def bound(address: HostAddress, place: tuple[str, int]) -> HostAddress:
    """The address that a socket which was to listen at `address` has got, with the port it was given."""
    return replace(address, port=place[1])


def source_of(host: str) -> str:
    """Whom a connection is counted for: an IPv4 address, or the /64 of an IPv6 one, which is one household's."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((int(ip), 64), strict=False))
    return host
