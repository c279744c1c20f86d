"""What is remembered of the way to each node: the cookie it gave us, what it wants, and how long its answers take."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from ..transports.address import Udp
from .cookies import PERIOD_S
from .wire import NO_COOKIE

MOST_PATHS: Final = 8192

FIRST_RTO_S: Final = 0.5
LEAST_RTO_S: Final = 0.1
MOST_RTO_S: Final = 2.0


@dataclass(slots=True)
class Path:
    """One node at one address. Times are of one clock that does not go back.

    cookie: to show when we ask; heard_at: when it last answered a question of ours, so was proved to be there;
    wants_record: it said that it does not know our work.
    """

    cookie: bytes = NO_COOKIE
    heard_at: float | None = None
    wants_record: bool = False
    _srtt: float | None = None
    _variation: float = 0.0

    def measured(self, rtt: float) -> None:
        """Take in how long an answer took, in seconds; not of a question that was sent twice (RFC 6298, Karn)."""
        if self._srtt is None:
            self._srtt, self._variation = rtt, rtt / 2
            return
        self._variation += (abs(rtt - self._srtt) - self._variation) / 4
        self._srtt += (rtt - self._srtt) / 8

    @property
    def rto(self) -> float:
        """After so many seconds without an answer a question is sent again (RFC 6298, with bounds of our own)."""
        if self._srtt is None:
            return FIRST_RTO_S
        return min(MOST_RTO_S, max(LEAST_RTO_S, self._srtt + 4 * self._variation))


class Paths:
    """The paths used last, at most MOST_PATHS; one that is forgotten costs a cookie and a record more the next time."""

    def __init__(self, clock: Callable[[], float], most: int = MOST_PATHS) -> None:
        self._clock = clock
        self._most = most
        self._paths: OrderedDict[tuple[bytes, Udp], Path] = OrderedDict()

    def __len__(self) -> int:
        return len(self._paths)

    def to(self, node_id: bytes, address: Udp) -> Path:
        """The path to a node, new if it is not known."""
        key = (node_id, address)
        path = self._paths.get(key)
        if path is None:
            path = self._paths[key] = Path()
            if len(self._paths) > self._most:
                self._paths.popitem(last=False)
        self._paths.move_to_end(key)
        return path

    def proved(self, node_id: bytes, address: Udp) -> bool:
        """Whether the node has answered a question of ours from there within the last 40 minutes."""
        return bool(self.proved_of(node_id, (address,)))

    def proved_of(self, node_id: bytes, addresses: Iterable[Udp]) -> tuple[Udp, ...]:
        """At which of these it has, the last first."""
        now, found = self._clock(), []
        for address in addresses:
            path = self._paths.get((node_id, address))
            if path is not None and path.heard_at is not None and now - path.heard_at < 2 * PERIOD_S:
                found.append((path.heard_at, address))
        found.sort(key=lambda proved: -proved[0])
        return tuple(address for _, address in found)
