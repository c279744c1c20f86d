"""Which class of traffic a packet type belongs to (row LIM-20; section D: talk before files)."""

from typing import Final

from shared_protocol.frame import (
    TYPE_ANNOUNCE,
    TYPE_ANNOUNCE_V2,
    TYPE_BOARD_POST,
    TYPE_DATAGRAM,
    TYPE_FILE,
    TYPE_FRAGMENT,
    TYPE_HELLO,
    TYPE_HOSTS,
    TYPE_IDENTITY,
    TYPE_PREKEYS,
    TYPE_VOICE,
)

from ..transports.fair_queue import Traffic

_CLASS_OF: Final = {
    TYPE_VOICE: Traffic.STREAMING,
    TYPE_FRAGMENT: Traffic.BULK,
    TYPE_FILE: Traffic.BULK,
    TYPE_BOARD_POST: Traffic.BULK,
    TYPE_DATAGRAM: Traffic.BULK,
    TYPE_ANNOUNCE: Traffic.BACKGROUND,
    TYPE_ANNOUNCE_V2: Traffic.BACKGROUND,
    TYPE_PREKEYS: Traffic.BACKGROUND,
    TYPE_HELLO: Traffic.BACKGROUND,
    TYPE_IDENTITY: Traffic.BACKGROUND,
    TYPE_HOSTS: Traffic.BACKGROUND,
}


def class_of(type: int) -> Traffic:
    """The class of a packet type. What nobody has a name for may be a game's or a vote's, so it is talk."""
    return _CLASS_OF.get(type, Traffic.INTERACTIVE)
