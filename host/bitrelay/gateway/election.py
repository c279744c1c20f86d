"""Which of several gateways does a piece of work: all that know the same ones come to the same answer."""

from collections.abc import Iterable
from hashlib import sha256


def elected(subject: bytes, gateways: Iterable[bytes]) -> bytes | None:
    """The gateway, by PeerId, for this subject (highest random weight, Thaler and Ravishankar 1998); None of none.

    When one leaves, only what it did goes to others; all share alike.
    """
    return max(gateways, key=lambda gateway: sha256(gateway + subject).digest(), default=None)
