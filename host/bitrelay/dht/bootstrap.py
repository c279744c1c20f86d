"""The first nodes to ask: from a list, from a file, or found by name (row DSC-26)."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

from ..errors import BadData, BitrelayError, WrongAddress
from ..transports.address import Udp, parse
from .messages import Contact
from .observed import version_of

MOST_ADDRESSES: Final = 256
"""From all sources together; those that come first count."""
RESOLVE_TIMEOUT_S: Final = 5.0

_AT_ONCE: Final = 16
_PER_NAME: Final = 4
_MOST_FILE: Final = 1 << 16

Greet = Callable[[Udp], Awaitable[Contact]]


def read_addresses(path: Path) -> tuple[Udp, ...]:
    """The addresses in a file of known peers: one a line, `udp://HOST:PORT`; # begins a comment.

    Raises BadData for a file that cannot be read, or for a line that is no address.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_FILE + 1)
    except OSError as error:
        raise BadData(f"{path}: {error.strerror}") from None
    if len(raw) > _MOST_FILE:
        raise BadData(f"{path}: too long for a list of peers")
    found = []
    for number, line in enumerate(raw.decode(errors="replace").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            found.append(udp_address(text))
        except WrongAddress as error:
            raise BadData(f"{path}, line {number}: {error.what}") from None
    return tuple(found)


def udp_address(text: str) -> Udp:
    """The UDP address that a text names; `udp://` may be left out. Raises WrongAddress."""
    address = parse(text if "://" in text else f"udp://{text}")
    if not isinstance(address, Udp):
        raise WrongAddress(f"{address} is not for the DHT, which takes udp://")
    return address


async def resolved(address: Udp, timeout: float = RESOLVE_TIMEOUT_S) -> tuple[Udp, ...]:
    """The addresses behind a name, at most four; an IP address itself. None at all if the name is not known in time."""
    if version_of(address):
        return (address,)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError, TimeoutError):
        return ()
    return tuple(dict.fromkeys(Udp(str(place[0]), address.port) for *_, place in found))[:_PER_NAME]


async def first_contacts(addresses: Iterable[Udp], greet: Greet) -> tuple[Contact, ...]:
    """The nodes that answer at these addresses. greet: asks who is there; ends within a time of its own."""
    left = iter(list(dict.fromkeys(addresses))[:MOST_ADDRESSES])
    found: dict[bytes, Contact] = {}

    async def greet_some() -> None:
        for address in left:
            for place in await resolved(address):
                try:
                    contact = await greet(place)
                except BitrelayError:
                    continue  # nobody is there, or nobody who counts
                found.setdefault(contact.node_id, contact)

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(greet_some())
    return tuple(found.values())
