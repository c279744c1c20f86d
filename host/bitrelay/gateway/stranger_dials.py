"""How often gateways are dialled that nobody vouches for, where the DHT says that they are.

Whoever signs a record may name any address in it. So what strangers say must not have many gateways dial somebody who
never asked for it, nor have ours dial into its own network. Pure policy; now is seconds of any one clock.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ..dht.places import Reach, reach
from ..transports.address import Address, HostAddress
from ..transports.token_bucket import TokenBucket

PER_MINUTE: Final = 20
AT_ONCE: Final = 16
"""Dials of strangers, wherever they are said to be."""
HOST_FIRST_S: Final = 10.0
HOST_MOST_S: Final = 600.0
"""Pauses between dials of one host double from the first to the longest, until a gateway there was the right one."""
MISSES: Final = 3
"""Whoever could not be linked with so often is silent, and makes room for others."""
FORGIVEN_S: Final = 3600.0
MOST: Final = 1024
"""Hosts, and silent gateways, that are remembered; of more, those forgotten first were dialled least recently."""


@dataclass(slots=True)
class _Host:
    free_at: float
    pause_s: float


class StrangerDials:
    """What was dialled, and who did not answer."""

    def __init__(self) -> None:
        self._bucket = TokenBucket(AT_ONCE, PER_MINUTE / 60)
        self._hosts: OrderedDict[str, _Host] = OrderedDict()
        # How often each was missed in a row, and when last.
        self._missed: OrderedDict[bytes, tuple[int, float]] = OrderedDict()

    def wait_s(self, address: Address, now: float) -> float:
        """In how many seconds it may be dialled; 0 for now."""
        host = self._hosts.get(_host_of(address))
        return max(self._bucket.wait_s(now), 0.0 if host is None else host.free_at - now)

    def dialled(self, address: Address, now: float) -> None:
        """It is dialled now, which wait_s allowed."""
        self._bucket.take()
        name = _host_of(address)
        before = self._hosts.get(name)
        pause_s = HOST_FIRST_S if before is None else min(HOST_MOST_S, 2 * before.pause_s)
        self._hosts[name] = _Host(now + pause_s, pause_s)
        self._hosts.move_to_end(name)
        if len(self._hosts) > MOST:
            self._hosts.popitem(last=False)

    def answered(self, peer_id: bytes, address: Address) -> None:
        """It was there, and proved who it is."""
        self._hosts.pop(_host_of(address), None)
        self._missed.pop(peer_id, None)

    def missed(self, peer_id: bytes, now: float) -> None:
        """At none of its addresses."""
        self._missed[peer_id] = self._missed.get(peer_id, (0, now))[0] + 1, now
        self._missed.move_to_end(peer_id)
        if len(self._missed) > MOST:
            self._missed.popitem(last=False)

    def is_silent(self, peer_id: bytes, now: float) -> bool:
        """Whether it was missed so often that others come first."""
        times, last = self._missed.get(peer_id, (0, now))
        return times >= MISSES and now - last < FORGIVEN_S


def within_reach(addresses: Iterable[HostAddress], own: Iterable[Address]) -> tuple[HostAddress, ...]:
    """Of a stranger's addresses those that may be dialled. own: where we say that we are reached.

    Only who is in a private network itself, or on this computer alone, is told by strangers of others there. Names are
    not looked up for them: they could lead anywhere.
    """
    reached = {_reach(each) for each in own} - {Reach.NOWHERE} | {Reach.ANYWHERE}
    nearest = max(each.value for each in reached)
    return tuple(each for each in addresses if (found := _reach(each)) is not Reach.NOWHERE and found.value <= nearest)


def _reach(address: Address) -> Reach:
    return reach(address.host) if isinstance(address, HostAddress) else Reach.NOWHERE


def _host_of(address: Address) -> str:
    return address.host if isinstance(address, HostAddress) else str(address)
