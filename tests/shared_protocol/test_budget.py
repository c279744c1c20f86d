"""What one neighbour may take of a relay."""

import pytest

from shared_protocol import budget, frame

LONG = frame.encode(frame.TYPE_FRAGMENT, 7, 1, b"flooding", bytes(480))
SHORT = frame.encode(frame.TYPE_MESSAGE, 7, 1, b"somebody", b"hello", signature=bytes(64))


def admitted(ledger: bytearray, data: bytes, link: int, a_second: int, seconds: int, start_ms: int = 0) -> int:
    """How many of so many frames a second are let through."""
    count = 0
    for number in range(a_second * seconds):
        now_ms = start_ms + number * 1000 // a_second
        count += budget.admit(ledger, data, len(data), frame.SENDER_V1, link, now_ms) >= 0
    return count


@pytest.mark.requirement("SEC-07")
def test_a_flood_is_cut_and_costs_another_link_nothing() -> None:
    ledger = budget.ledger(1)
    flood = admitted(ledger, LONG, 0, 1000, 4)
    # Four seconds at 106 frames of unsigned types, and a second's worth at once.
    assert 4 * 90 <= flood <= 5 * 110
    assert admitted(ledger, SHORT, 1, 20, 4, 2000) == 80
