"""The frames that two coordinators exchange over any transport. docs/protocol.md, "Delivery", has them.

kind u8, then, big-endian:

    DATA   epoch u64, sequence u32, lag u8, message     lag: how far behind it the oldest unacknowledged message is
    ACK    epoch u64, next u32, room u8                 all below next have arrived; so many more are taken
    RESET  epoch u64                                    of that epoch, what came before is not known here: begin anew
    PING   token u64
    PONG   token u64
"""

import struct
from dataclasses import dataclass
from typing import Final

_DATA, _ACK, _RESET, _PING, _PONG = 1, 2, 3, 4, 5
_DATA_HEADER = struct.Struct(">BQIB")
_ACK_FRAME = struct.Struct(">BQIB")
_NUMBER_FRAME = struct.Struct(">BQ")
DATA_OVERHEAD: Final = _DATA_HEADER.size
"""Bytes that a message grows by."""
MAX_SEQUENCE: Final = (1 << 32) - 1
MAX_EPOCH: Final = 1 << 63
"""Above this none is taken from a peer, so that there is always a higher one."""


@dataclass(frozen=True, slots=True)
class Data:
    epoch: int
    sequence: int
    lag: int
    message: bytes


@dataclass(frozen=True, slots=True)
class Ack:
    epoch: int
    next: int
    room: int


@dataclass(frozen=True, slots=True)
class Reset:
    epoch: int


@dataclass(frozen=True, slots=True)
class Ping:
    token: int


@dataclass(frozen=True, slots=True)
class Pong:
    token: int


ControlFrame = Data | Ack | Reset | Ping | Pong
_NUMBERED: Final[dict[int, type[Reset] | type[Ping] | type[Pong]]] = {_RESET: Reset, _PING: Ping, _PONG: Pong}


def encode(frame: ControlFrame) -> bytes:
    match frame:
        case Data(epoch, sequence, lag, message):
            return _DATA_HEADER.pack(_DATA, epoch, sequence, lag) + message
        case Ack(epoch, following, room):
            return _ACK_FRAME.pack(_ACK, epoch, following, room)
        case Reset(epoch):
            return _NUMBER_FRAME.pack(_RESET, epoch)
        case Ping(token):
            return _NUMBER_FRAME.pack(_PING, token)
        case Pong(token):
            return _NUMBER_FRAME.pack(_PONG, token)


def decode(data: bytes) -> ControlFrame | None:
    """The frame; None for bytes that are none."""
    kind = data[0] if data else 0
    if kind == _DATA and len(data) >= DATA_OVERHEAD:
        _, epoch, sequence, lag = _DATA_HEADER.unpack_from(data)
        valid = epoch <= MAX_EPOCH and lag <= sequence
        return Data(epoch, sequence, lag, data[DATA_OVERHEAD:]) if valid else None
    if kind == _ACK and len(data) == _ACK_FRAME.size:
        return Ack(*_ACK_FRAME.unpack(data)[1:])
    if kind in _NUMBERED and len(data) == _NUMBER_FRAME.size:
        return _NUMBERED[kind](_NUMBER_FRAME.unpack(data)[1])
    return None
