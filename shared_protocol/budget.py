# How much of a relay one neighbour, one sender and the types that nobody signs may take (bitchat protocol, section
# 4.9).
#
# A frame costs 2.5 ms and 10 us a byte: what a board needs to forward a short one, and what a byte is on the air with
# its share of packet heads and answers (1M PHY). 512 bytes are 7.5 ms. A bucket holds a debt that time pays off, one
# for one; a frame that would put it over its limit is dropped. So, on a relay that is not congested:
#
#   link to a phone       133 frames of 512 bytes a second, or 350 short ones
#   link to a relay       twice that: it carries many senders
#   sender, on one link   what a phone's link may, whatever the link
#   unsigned types        four fifths of their link: 106 frames of 512 bytes (iOS sends two files at once with 80)
#
# That is more than a link carries in one direction while it also has the other, so nobody honest is cut. What all links
# share is less: 512 bytes that come in and go out three times are 22 ms of air, 45 frames a second. So a congested
# relay charges more:
#
#   frame of              a verified author    somebody else
#   talk, sessions               x2                 x8
#   bulk                         x4                x16
#
# and a sender nobody has verified twice that, so that one stranger leaves half of the link to others. An unknown
# phone's fragments of 512 bytes then get 4 a second, a verified one's 26, and a verified author may still say 100
# things. Congestion is judged anew all the time: what others leave over, bulk still gets.
#
# The limit is a second's debt, a quarter less for bulk and a quarter less for authors nobody has verified, and for
# these three tenths of a second under congestion, on links to relays as on others: when they have used up a link's
# budget, it still has room for the rest, so they never keep out a verified author's talk.
#
# Senders are told apart by a seeded hash and by the link they come in on: whoever takes somebody else's id spoils it on
# that link only. A sender has two of 128 buckets, and the one that owes less counts; the hash changes every 16 s, so
# nobody shares both with a flooder for longer.
from shared_protocol.frame import (
    TYPE_ANNOUNCE,
    TYPE_ANNOUNCE_V2,
    TYPE_BOARD_POST,
    TYPE_COURIER,
    TYPE_FILE,
    TYPE_GROUP_MESSAGE,
    TYPE_HELLO,
    TYPE_IDENTITY,
    TYPE_LEAVE,
    TYPE_MESSAGE,
    TYPE_NOISE_ENCRYPTED,
    TYPE_NOISE_HANDSHAKE,
    TYPE_NOSTR_CARRIER,
    TYPE_PING,
    TYPE_PONG,
    TYPE_PREKEYS,
    TYPE_REQUEST_SYNC,
    TYPE_VOICE,
)
from shared_protocol.interpreter import const

try:
    from shared_protocol.budget_viper import admit
except (ImportError, ValueError):
    # CPython, or an interpreter for which the machine code was not made.
    from shared_protocol.budget_plain import admit

__all__ = ("admit", "ledger")

# What a frame's situation is made of, beside the index of its link (below 16).
RELAY = const(0x10)  # the link goes to another relay
VERIFIED = const(0x20)  # the sender's announce was verified
CONGESTED = const(0x40)

OVER_LINK = const(-1)
OVER_SENDER = const(-2)
OVER_UNSIGNED = const(-3)

_LEDGER_BYTES = const(900)
_SEED_AT = const(256)
_TALK = const(1)
_SESSION = const(2)
_NOT_SIGNED = const(4)

# Known types whose authors sign what they can; whether a frame of them is signed is seen by its flag.
_SIGNED = (
    TYPE_COURIER,
    TYPE_REQUEST_SYNC,
    TYPE_FILE,
    TYPE_BOARD_POST,
    TYPE_PREKEYS,
    TYPE_GROUP_MESSAGE,
    TYPE_PING,
    TYPE_PONG,
    TYPE_NOSTR_CARRIER,
    TYPE_VOICE,
    TYPE_ANNOUNCE_V2,
    TYPE_HELLO,
    TYPE_IDENTITY,
)


# All budgets of a relay, unspent. seed: random, below 2**30.
def ledger(seed: int) -> bytearray:
    book = bytearray(_LEDGER_BYTES)
    for kind in range(256):
        book[kind] = _NOT_SIGNED
    for kind in _SIGNED:
        book[kind] = 0
    book[TYPE_MESSAGE] = book[TYPE_ANNOUNCE] = _TALK
    book[TYPE_LEAVE] = _SESSION
    book[TYPE_NOISE_HANDSHAKE] = book[TYPE_NOISE_ENCRYPTED] = _SESSION | _NOT_SIGNED
    book[_SEED_AT : _SEED_AT + 4] = seed.to_bytes(4, "little")
    return book
