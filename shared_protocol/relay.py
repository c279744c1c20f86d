# Whether to pass a frame on, with what TTL and after how long (bitchat protocol, sections 4.1 and 4.5: the rules of
# iOS).
from shared_protocol.frame import (
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
from shared_protocol.interpreter import const, micropython

NOT_RELAYED_TYPE = const(1)
NOT_RELAYED_TTL = const(2)
NOT_RELAYED_OURS = const(3)
NOT_RELAYED_RSR = const(4)

_MAX_TTL = const(7)
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


# Ranges of delays: the shortest, the longest, in milliseconds.
_HANDSHAKES = const(10 << 8 | 35)
_DIRECTED = const(20 << 8 | 60)
_BURSTS = const(8 << 8 | 25)
_AMONG_FEW = const(10 << 8 | 40)
_AMONG_SOME = const(60 << 8 | 150)
_AMONG_MANY = const(80 << 8 | 180)
_IN_CROWD = const(100 << 8 | 220)


# New TTL << 16 | shortest delay << 8 | longest delay, delays in milliseconds: one number, since a board has better use
# for its memory than tuples. Not to be relayed: minus the reason. ttl as received. directed: the frame has a recipient,
# eight FF included. to_me_or_mine: sent by or to this relay. rsr: answers a sync request, which concerns one link only.
# urgent: a board post that says so. degree: connected peers. The new TTL is at most 6, so that TTL 7 always means "one
# hop from its author".
@micropython.viper  # type: ignore[untyped-decorator]
def decision(type: int, ttl: int, directed: int, to_me_or_mine: int, rsr: int, urgent: int, degree: int) -> int:
    kind = int(_KIND_OF_TYPE[type])
    if kind == _NEVER:
        return -NOT_RELAYED_TYPE
    # Before the TTL: sync answers travel with TTL 0, and their own reason says more.
    if rsr:
        return -NOT_RELAYED_RSR
    if ttl <= 1:
        return -NOT_RELAYED_TTL
    if to_me_or_mine:
        return -NOT_RELAYED_OURS
    if ttl > _MAX_TTL:
        ttl = _MAX_TTL
    if kind == _HANDSHAKE:
        return ttl - 1 << 16 | _HANDSHAKES
    if directed and (kind == _QUICK_IF_DIRECTED or kind == _FRAGMENT):
        return ttl - 1 << 16 | _DIRECTED
    if degree >= _DENSE and ttl > _DENSE_LIMIT:
        ttl = _DENSE_LIMIT
    if kind == _FRAGMENT or kind == _VOICE:
        return ttl - 1 << 16 | _BURSTS
    if degree <= _THIN:
        return ttl - 1 << 16 | _AMONG_FEW
    if ttl > _USUAL_LIMIT and kind != _ANNOUNCE and not (urgent and kind == _BOARD_POST):
        ttl = _USUAL_LIMIT
    if degree < _DENSE:
        return ttl - 1 << 16 | _AMONG_SOME
    return ttl - 1 << 16 | (_AMONG_MANY if degree < _CROWD else _IN_CROWD)


# The same as (new TTL, shortest delay, longest delay), or (0, reason, 0).
def decide(
    type: int, ttl: int, directed: bool, to_me_or_mine: bool, rsr: bool, urgent: bool, degree: int
) -> tuple[int, int, int]:
    verdict = decision(type, ttl, directed, to_me_or_mine, rsr, urgent, degree)
    if verdict < 0:
        return 0, -verdict, 0
    return verdict >> 16, verdict >> 8 & 255, verdict & 255
