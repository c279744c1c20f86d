"""Which of two connections between the same two peers stays, so that both keep the same one.

The end with the lower PeerId decides. The other one says READY first: which of its runs it is, a number that grows,
and the connections with the decider that it has or waits for. The decider keeps the one it has if the other end has
it, too, and otherwise the new one: the other end has lost the old one without a word. It says KEEP or DUPLICATE; until
then the other end reports nothing.
"""

import itertools
import os
import struct
from dataclasses import dataclass
from typing import Final

from .channel import ID_SIZE

MAX_HELD: Final = 8
"""Connections with one peer that are told of; the newest are."""
_HEADER: Final = struct.Struct(">8sQ")
MAX_SIZE: Final = _HEADER.size + MAX_HELD * ID_SIZE


@dataclass(frozen=True, slots=True)
class Ready:
    """run: 8 random bytes of one transport's life; number: later ones are higher; held: ids of connections."""

    run: bytes
    number: int
    held: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        return _HEADER.pack(self.run, self.number) + b"".join(self.held[-MAX_HELD:])

    @classmethod
    def parse(cls, data: bytes) -> "Ready | None":
        """None for what is none."""
        if not _HEADER.size <= len(data) <= MAX_SIZE or (len(data) - _HEADER.size) % ID_SIZE:
            return None
        run, number = _HEADER.unpack_from(data)
        return cls(run, number, tuple(data[at : at + ID_SIZE] for at in range(_HEADER.size, len(data), ID_SIZE)))


def stays(existing_id: bytes, existing: Ready | None, said: Ready) -> bool:
    """Whether the connection that the decider has stays, and the new one, on which `said` came, goes.

    existing: what was said on the one that it has. What was said before that one began knows nothing of it.
    """
    if existing_id in said.held:
        return True
    return existing is not None and existing.run == said.run and existing.number > said.number


class Numbers:
    """Makes the Readys of one transport."""

    def __init__(self) -> None:
        self._run = os.urandom(8)
        self._numbers = itertools.count(1)

    def ready(self, held: tuple[bytes, ...]) -> Ready:
        return Ready(self._run, next(self._numbers), held)
