"""The relay decision: every branch of the rules, at every degree where they change."""

import pytest

from shared_protocol import frame
from shared_protocol.relay import (
    NOT_RELAYED_OURS,
    NOT_RELAYED_RSR,
    NOT_RELAYED_TTL,
    NOT_RELAYED_TYPE,
    decide,
)

UNKNOWN = 0x7F


def decided(
    type: int,
    ttl: int = 7,
    degree: int = 1,
    *,
    directed: bool = False,
    ours: bool = False,
    rsr: bool = False,
    urgent: bool = False,
) -> tuple[int, int, int]:
    return decide(type, ttl, directed, ours, rsr, urgent, degree)


@pytest.mark.parametrize(
    ("degree", "message_ttl", "announce_ttl", "delay"),
    [
        (0, 6, 6, (10, 40)),
        (1, 6, 6, (10, 40)),
        (2, 6, 6, (10, 40)),
        (3, 5, 6, (60, 150)),
        (5, 5, 6, (60, 150)),
        (6, 4, 4, (80, 180)),
        (9, 4, 4, (80, 180)),
        (10, 4, 4, (100, 220)),
        (50, 4, 4, (100, 220)),
    ],
)
def test_degree(degree: int, message_ttl: int, announce_ttl: int, delay: tuple[int, int]) -> None:
    for type in (frame.TYPE_MESSAGE, frame.TYPE_LEAVE, frame.TYPE_FILE, frame.TYPE_BOARD_POST, UNKNOWN):
        assert decided(type, 7, degree) == (message_ttl, *delay)
    assert decided(frame.TYPE_ANNOUNCE, 7, degree) == (announce_ttl, *delay)
    assert decided(frame.TYPE_BOARD_POST, 7, degree, urgent=True) == (announce_ttl, *delay)
    # Urgency is the board's alone, and a recipient makes no difference to these types.
    assert decided(frame.TYPE_MESSAGE, 7, degree, urgent=True) == (message_ttl, *delay)
    assert decided(frame.TYPE_MESSAGE, 7, degree, directed=True) == (message_ttl, *delay)


@pytest.mark.parametrize(
    ("ttl", "thin", "some", "dense"),
    [
        (2, 1, 1, 1),
        (3, 2, 2, 2),
        (4, 3, 3, 3),
        (5, 4, 4, 4),
        (6, 5, 5, 4),
        (7, 6, 5, 4),
        (8, 6, 5, 4),
        (255, 6, 5, 4),
    ],
)
def test_ttl_of_a_message(ttl: int, thin: int, some: int, dense: int) -> None:
    assert [decided(frame.TYPE_MESSAGE, ttl, degree)[0] for degree in (1, 4, 8)] == [thin, some, dense]


@pytest.mark.parametrize("degree", [0, 3, 6, 20])
def test_handshakes_are_quick_and_undiminished(degree: int) -> None:
    for directed in (False, True):
        assert decided(frame.TYPE_NOISE_HANDSHAKE, 7, degree, directed=directed) == (6, 10, 35)


@pytest.mark.parametrize("degree", [0, 3, 6, 20])
@pytest.mark.parametrize("type", [0x11, 0x04, 0x26, 0x27, 0x28, 0x20])
def test_directed_types(type: int, degree: int) -> None:
    assert decided(type, 7, degree, directed=True) == (6, 20, 60)
    assert decided(type, 2, degree, directed=True) == (1, 20, 60)


@pytest.mark.parametrize("type", [0x11, 0x04, 0x26, 0x27, 0x28])
def test_directed_types_without_recipient_are_ordinary(type: int) -> None:
    assert decided(type, 7, 3) == (5, 60, 150)


@pytest.mark.parametrize("type", [frame.TYPE_FRAGMENT, frame.TYPE_VOICE])
def test_bursts(type: int) -> None:
    assert decided(type, 7, 5) == (6, 8, 25)
    assert decided(type, 7, 6) == (4, 8, 25)
    assert decided(type, 3, 6) == (2, 8, 25)
    assert decided(type, 2, 6) == (1, 8, 25)


def test_voice_with_a_recipient_is_a_burst() -> None:
    assert decided(frame.TYPE_VOICE, 7, 6, directed=True) == (4, 8, 25)


@pytest.mark.parametrize(
    ("reason", "arguments"),
    [
        (NOT_RELAYED_TYPE, {"type": frame.TYPE_REQUEST_SYNC}),
        (NOT_RELAYED_TYPE, {"type": frame.TYPE_REQUEST_SYNC, "ttl": 0, "ours": True, "rsr": True}),
        (NOT_RELAYED_RSR, {"type": frame.TYPE_MESSAGE, "rsr": True}),
        (NOT_RELAYED_RSR, {"type": frame.TYPE_MESSAGE, "rsr": True, "ttl": 0}),
        (NOT_RELAYED_TTL, {"type": frame.TYPE_MESSAGE, "ttl": 0}),
        (NOT_RELAYED_TTL, {"type": frame.TYPE_MESSAGE, "ttl": 1}),
        (NOT_RELAYED_TTL, {"type": frame.TYPE_NOISE_HANDSHAKE, "ttl": 1, "ours": True}),
        (NOT_RELAYED_OURS, {"type": frame.TYPE_NOISE_ENCRYPTED, "directed": True, "ours": True}),
        (NOT_RELAYED_OURS, {"type": frame.TYPE_MESSAGE, "ttl": 2, "ours": True}),
    ],
)
def test_not_relayed(reason: int, arguments: dict[str, int]) -> None:
    assert decided(**arguments)[:2] == (0, reason)


def test_unknown_types_are_relayed_like_messages() -> None:
    known = {value for name, value in vars(frame).items() if name.startswith("TYPE_")}
    for type in set(range(256)) - known:
        assert decided(type, 7, 1) == (6, 10, 40)
