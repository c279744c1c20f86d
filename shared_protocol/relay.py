# Whether to pass a frame on, with what TTL and after how long (bitchat protocol, sections 4.1 and 4.5: the rules of
# iOS).
from shared_protocol.frame import (
    MAX_TTL,
    TYPE_ANNOUNCE,
    TYPE_BOARD_POST,
    TYPE_COURIER,
    TYPE_FRAGMENT,
    TYPE_NOISE_ENCRYPTED,
    TYPE_NOISE_HANDSHAKE,
    TYPE_NOSTR_CARRIER,
    TYPE_PING,
    TYPE_PONG,
    TYPE_REQUEST_SYNC,
    TYPE_VOICE,
)
from shared_protocol.interpreter import const

NOT_RELAYED_TYPE = const(1)
NOT_RELAYED_TTL = const(2)
NOT_RELAYED_OURS = const(3)
NOT_RELAYED_RSR = const(4)

_DENSE = const(6)
_CROWD = const(10)
_DENSE_LIMIT = const(5)
_THIN = const(2)
_USUAL_LIMIT = const(6)

# Kinds of types, in the order in which decide() asks for them.
_ORDINARY = const(0)
_NEVER = const(1)
_HANDSHAKE = const(2)
_QUICK_IF_DIRECTED = const(3)
_FRAGMENT = const(4)
_VOICE = const(5)
_ANNOUNCE = const(6)
_BOARD_POST = const(7)

_KIND_OF_TYPE = bytearray(256)
_KIND_OF_TYPE[TYPE_REQUEST_SYNC] = _NEVER
_KIND_OF_TYPE[TYPE_NOISE_HANDSHAKE] = _HANDSHAKE
for _type in (TYPE_NOISE_ENCRYPTED, TYPE_COURIER, TYPE_PING, TYPE_PONG, TYPE_NOSTR_CARRIER):
    _KIND_OF_TYPE[_type] = _QUICK_IF_DIRECTED
_KIND_OF_TYPE[TYPE_FRAGMENT] = _FRAGMENT
_KIND_OF_TYPE[TYPE_VOICE] = _VOICE
_KIND_OF_TYPE[TYPE_ANNOUNCE] = _ANNOUNCE
_KIND_OF_TYPE[TYPE_BOARD_POST] = _BOARD_POST


# The answers for one range of delays, by the limit that the new TTL is one below. They are made once, so that a
# decision allocates nothing.
def _answers(low_ms: int, high_ms: int) -> tuple[tuple[int, int, int], ...]:
    return tuple([(limit - 1, low_ms, high_ms) for limit in range(MAX_TTL + 1)])


_HANDSHAKES = _answers(10, 35)
_DIRECTED = _answers(20, 60)
_BURSTS = _answers(8, 25)
_AMONG_FEW = _answers(10, 40)
_AMONG_SOME = _answers(60, 150)
_AMONG_MANY = _answers(80, 180)
_IN_CROWD = _answers(100, 220)
_NO_TYPE = (0, NOT_RELAYED_TYPE, 0)
_NO_TTL = (0, NOT_RELAYED_TTL, 0)
_NO_OURS = (0, NOT_RELAYED_OURS, 0)
_NO_RSR = (0, NOT_RELAYED_RSR, 0)


# (new TTL, shortest delay, longest delay), delays in milliseconds; a new TTL of 0 says "do not relay", and then the
# second number is the reason. ttl as received. directed: the frame has a recipient, eight FF included. to_me_or_mine:
# sent by or to this relay. rsr: answers a sync request, which concerns one link only. urgent: a board post that says
# so. degree: connected peers. The new TTL is at most 6, so that TTL 7 always means "one hop from its author".
def decide(
    type: int, ttl: int, directed: bool, to_me_or_mine: bool, rsr: bool, urgent: bool, degree: int
) -> tuple[int, int, int]:
    kind = _KIND_OF_TYPE[type]
    if kind == _NEVER:
        return _NO_TYPE
    # Before the TTL: sync answers travel with TTL 0, and their own reason says more.
    if rsr:
        return _NO_RSR
    if ttl <= 1:
        return _NO_TTL
    if to_me_or_mine:
        return _NO_OURS
    if ttl > MAX_TTL:
        ttl = MAX_TTL
    if kind == _HANDSHAKE:
        return _HANDSHAKES[ttl]
    if directed and (kind == _QUICK_IF_DIRECTED or kind == _FRAGMENT):
        return _DIRECTED[ttl]
    if degree >= _DENSE and ttl > _DENSE_LIMIT:
        ttl = _DENSE_LIMIT
    if kind == _FRAGMENT or kind == _VOICE:
        return _BURSTS[ttl]
    if degree <= _THIN:
        return _AMONG_FEW[ttl]
    if ttl > _USUAL_LIMIT and kind != _ANNOUNCE and not (urgent and kind == _BOARD_POST):
        ttl = _USUAL_LIMIT
    if degree < _DENSE:
        return _AMONG_SOME[ttl]
    return _AMONG_MANY[ttl] if degree < _CROWD else _IN_CROWD[ttl]
