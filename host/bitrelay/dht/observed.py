"""Where other nodes see us."""

from collections import Counter, OrderedDict

from ..transports.address import Udp
from .places import Reach, reach

MOST_TELLERS = 32
LEAST_TELLERS = 2


def version_of(address: Udp) -> int:
    """Its IP version, 4 or 6; 0 for a name. An address holds what `ipaddress` wrote, so that a look is enough."""
    if ":" in address.host:
        return 6
    return 4 if address.host.replace(".", "").isdigit() else 0


class ObservedAddress:
    """Where others see us: what more than half of them say, of the last MOST_TELLERS, and at least LEAST_TELLERS."""

    def __init__(self) -> None:
        self._told: OrderedDict[bytes, Udp] = OrderedDict()

    def tell(self, teller: bytes, observed: Udp) -> None:
        """Note what a node said; its last word counts."""
        if reach(observed.host) is Reach.NOWHERE or not observed.port:
            return
        self._told[teller] = observed
        self._told.move_to_end(teller)
        if len(self._told) > MOST_TELLERS:
            self._told.popitem(last=False)

    @property
    def addresses(self) -> tuple[Udp, ...]:
        """The address of each IP version that most agree on."""
        agreed = []
        for version in (4, 6):
            told = Counter(address for address in self._told.values() if version_of(address) == version)
            if told:
                address, times = told.most_common(1)[0]
                if times >= LEAST_TELLERS and times * 2 > told.total():
                    agreed.append(address)
        return tuple(agreed)
