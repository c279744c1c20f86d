"""Asks the home's router for a way in (UPnP IGD), by `miniupnpc`, which is an extra: pip install 'bitrelay[upnp]'."""

import asyncio
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from ..errors import BrokenInstallation, Unreachable
from ..transports.address import Udp

_T = TypeVar("_T")

LEASE_S: Final = 3600
"""For how long it is asked; to be asked again at half of that. A router that forgets nothing forgets this."""
DISCOVER_MS: Final = 1500
_TIMEOUT_S = 20.0
_DESCRIPTION = "bitrelay"


@dataclass(frozen=True, slots=True)
class WayIn:
    """external: where the router takes datagrams for us; internal: where it sends them."""

    external: Udp
    internal: Udp


async def open_way_in(port: int) -> WayIn:
    """Have the router send what comes to its UDP port of this number to ours, for LEASE_S seconds.

    Raises Unreachable if there is no such router, if it refuses, or if it has no public address itself;
    BrokenInstallation without miniupnpc.
    """
    return await _in_thread(_open, port)


async def close_way_in(port: int) -> None:
    """Take it back. Raises as open_way_in does."""
    await _in_thread(_close, port)


async def try_way_in(port: int) -> tuple[WayIn, Unreachable | None]:
    """Open a way in and take it back at once; with it, why it could not be taken back. Raises as open_way_in does.

    Whoever is cancelled meanwhile, or gives up, leaves no port open: the thread does both, and the loop waits for it
    when it ends.
    """
    return await _in_thread(_try, port)


async def _in_thread(work: Callable[[int], _T], port: int) -> _T:
    # The library blocks; what hangs there ends by the library's own timeouts.
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            return await asyncio.to_thread(work, port)
    except TimeoutError:
        raise Unreachable("the router did not answer in time") from None


def _open(port: int) -> WayIn:
    router = _router()
    lan, outside = str(router.lanaddr), str(_told(router.externalipaddress))
    try:
        if not ipaddress.ip_address(outside).is_global:
            raise Unreachable(
                "the router has no public address itself",
                hint=f"It says {outside}: the provider translates addresses as well.",
            )
    except ValueError:
        raise Unreachable("the router does not know its own address") from None
    if not _told(router.addportmapping, port, "UDP", lan, port, _DESCRIPTION, "", LEASE_S):
        raise Unreachable("the router refuses to open a port")
    return WayIn(Udp(outside, port), Udp(lan, port))


def _close(port: int) -> None:
    _told(_router().deleteportmapping, port, "UDP")


def _try(port: int) -> tuple[WayIn, Unreachable | None]:
    way = _open(port)
    try:
        _close(port)
    except Unreachable as error:
        return way, error
    return way, None


def _router() -> Any:
    try:
        import miniupnpc
    except ModuleNotFoundError:
        raise BrokenInstallation(
            "asking a router for a way in needs miniupnpc, which is not installed",
            hint="Install it with pip install 'bitrelay[upnp]'",
        ) from None
    found = miniupnpc.UPnP()
    found.discoverdelay = DISCOVER_MS
    try:
        found.discover()
        found.selectigd()
    except Exception:
        # The library raises Exception itself.
        raise Unreachable(
            "no router here opens ports (UPnP)", hint="It may be switched off in the router's settings."
        ) from None
    return found


def _told(call: Callable[..., Any], *values: object) -> Any:
    try:
        return call(*values)
    except Exception as error:
        raise Unreachable(f"the router refuses: {error}") from None
