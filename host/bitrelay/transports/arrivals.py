"""Places of connections that come in, between the first question whether they may and the word that they are up."""

from collections import Counter, OrderedDict

from .address import Address
from .limits import Admission, Place


class Arrivals:
    """Places by the address they come from; what does not come about within pending_s loses its place (row LIM-24).

    As many as there are places at most: each holds one. now: seconds of any one clock.
    """

    def __init__(self, admission: Admission, pending_s: float) -> None:
        self._admission = admission
        self._pending_s = pending_s
        self._coming: OrderedDict[Address, tuple[Place, float]] = OrderedDict()
        self._admitted: Counter[Address] = Counter()

    def add(self, address: Address, place: Place, now: float) -> None:
        """It may begin its handshake."""
        self._admitted[address] += 1
        self._forget(address)
        self._coming[address] = (place, now)

    def get(self, address: Address) -> Place | None:
        """Its place, while it is coming."""
        coming = self._coming.get(address)
        return coming[0] if coming is not None else None

    def take(self, address: Address) -> Place | None:
        """It is up: its place is another's to release. None if it has lost it."""
        coming = self._coming.pop(address, None)
        return coming[0] if coming is not None and coming[0].held else None

    def left(self, address: Address) -> None:
        """One that was added has ended, whether it came about or not."""
        # An older connection from the same address may end while the next one comes about.
        self._admitted[address] -= 1
        if self._admitted[address] <= 0:
            del self._admitted[address]
            self._forget(address)

    def forget_late(self, now: float) -> None:
        """Take the places of those that have been coming for too long."""
        while self._coming:
            address, (_, since) = next(iter(self._coming.items()))
            if now - since < self._pending_s:
                return
            self._forget(address)

    def _forget(self, address: Address) -> None:
        coming = self._coming.pop(address, None)
        if coming is not None:
            self._admission.release(coming[0])
