"""One look around: who can be heard now, by this computer's Bluetooth and on the radios of running labs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from .. import ports
from ..errors import BitrelayError, BrokenInstallation
from .adapter import Adapter
from .clock import Clock, SystemClock
from .discovery import SCAN_WINDOW_S, Discovery
from .peers import DiscoveredPeer
from .sighting import Rejection


@dataclass(frozen=True)
class Heard:
    """A peer, and by which adapter it was heard."""

    peer: DiscoveredPeer
    via: str


@dataclass(frozen=True)
class Survey:
    """Peers, the loudest first; errors of adapters by which nothing could be heard; how many advertisements had only a
    name like ours."""

    heard: list[Heard] = field(default_factory=list)
    errors: list[BitrelayError] = field(default_factory=list)
    named_only: int = 0


async def survey(seconds: float = SCAN_WINDOW_S, clock: Clock | None = None) -> Survey:
    """Listen once, with everything at the same time. Raises the error of this computer's Bluetooth if no adapter
    worked."""
    own = Discovery(Adapter(), clock=clock or SystemClock(), any_name=True)
    looks = [_look(own, seconds), *(_look_at_lab(radio, seconds, own.clock) for radio in ports.virtual_radios())]
    results = await asyncio.gather(*looks, return_exceptions=True)
    found: list[Discovery] = []
    errors: list[BitrelayError] = []
    for result in results:
        if isinstance(result, Discovery):
            found.append(result)
        elif isinstance(result, BitrelayError):
            errors.append(result)
        else:
            raise result
    if not found:
        raise errors[0]
    heard = [Heard(peer, discovery.adapter.name) for discovery in found for peer in discovery.peers]
    heard.sort(key=lambda one: -one.peer.level)
    return Survey(heard, errors, sum(discovery.rejected[Rejection.NAME_ONLY] for discovery in found))


@asynccontextmanager
async def lab_adapter(radio: ports.VirtualRadio) -> AsyncIterator[Adapter]:
    """An adapter on the radio of a running lab. Raises NoBluetooth if the lab has just ended, BrokenInstallation
    without what a lab needs."""
    try:
        from ..lab.bleak_adapter import adapter_at
    except ModuleNotFoundError as error:
        raise BrokenInstallation(
            f"the lab's radio needs {error.name}, which is not installed",
            hint="Install it with pip install 'bitrelay[lab]'",
        ) from None
    async with adapter_at(radio.socket, f"lab {radio.lab}") as virtual:
        yield Adapter(virtual.name, virtual.scanner, virtual.client)


async def _look(discovery: Discovery, seconds: float) -> Discovery:
    await discovery.scan(seconds)
    return discovery


async def _look_at_lab(radio: ports.VirtualRadio, seconds: float, clock: Clock) -> Discovery:
    async with lab_adapter(radio) as adapter:
        return await _look(Discovery(adapter, clock=clock, any_name=True), seconds)
