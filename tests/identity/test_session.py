"""What a session takes and refuses on a medium that loses, repeats and reorders."""

import random
import tracemalloc

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrelay.errors import MessageFault, MessageRefused, NoSession
from bitrelay.identity.keys import on_air_id_of
from bitrelay.identity.noise import CipherState
from bitrelay.identity.replay import WINDOW, ReplayWindow
from bitrelay.identity.session import MAX_PLAINTEXT, OVERHEAD, Session, SessionLimits, is_on_air_id_of


def pair(limits: SessionLimits | None = None) -> tuple[Session, Session]:
    there, back = b"1" * 32, b"2" * 32
    one = Session(b"on-air-2", b"K" * 32, b"h" * 32, (CipherState(there), CipherState(back)), 0.0, limits=limits)
    other = Session(b"on-air-1", b"k" * 32, b"h" * 32, (CipherState(back), CipherState(there)), 0.0, limits=limits)
    return one, other


def fault_of(session: Session, sealed: bytes) -> MessageFault:
    with pytest.raises(MessageRefused) as refused:
        session.open(sealed, 1.0)
    return refused.value.fault


def test_the_bytes_are_those_of_the_phone_apps() -> None:
    one, other = pair()
    one.seal(b"first", 1.0)
    sealed = one.seal(b"\x01hello", 1.0)
    # Four bytes of number, big-endian; the nonce has it little-endian behind four zeros; no associated data.
    assert sealed[:4] == b"\0\0\0\x01"
    assert sealed[4:] == ChaCha20Poly1305(b"1" * 32).encrypt(bytes(4) + b"\x01" + bytes(7), b"\x01hello", b"")
    assert len(sealed) == 6 + OVERHEAD
    assert other.open(sealed, 1.0) == b"\x01hello"


def test_each_message_opens_once_and_both_directions_count_for_themselves() -> None:
    one, other = pair()
    sealed = [one.seal(bytes((i,)), 1.0) for i in range(3)]
    assert other.open(sealed[2], 1.0) == b"\2" and other.open(sealed[0], 1.0) == b"\0"
    assert fault_of(other, sealed[2]) is fault_of(other, sealed[0]) is MessageFault.REPLAYED
    assert other.open(sealed[1], 1.0) == b"\1"
    assert one.open(other.seal(b"back", 1.0), 1.0) == b"back"
    # What one end sealed it does not take back.
    assert fault_of(one, sealed[1]) is MessageFault.FORGED
    assert (one.sent, one.received, other.sent, other.received) == (3, 1, 1, 3)


def test_a_message_may_be_so_late_and_no_later() -> None:
    one, other = pair()
    sealed = [one.seal(b"", 1.0) for _ in range(WINDOW + 1)]
    other.open(sealed[WINDOW], 1.0)
    assert fault_of(other, sealed[0]) is MessageFault.TOO_OLD
    assert other.open(sealed[1], 1.0) == b""


def test_a_forged_number_does_not_move_the_window() -> None:
    one, other = pair()
    sealed = one.seal(b"text", 1.0)
    assert fault_of(other, b"\xff\xff\xff\xfe" + sealed[4:]) is MessageFault.FORGED
    for at in range(4, len(sealed)):
        assert fault_of(other, sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :]) is MessageFault.FORGED
    assert other.open(sealed, 1.0) == b"text"


def test_sizes() -> None:
    one, other = pair()
    assert other.open(one.seal(bytes(MAX_PLAINTEXT), 1.0), 1.0) == bytes(MAX_PLAINTEXT)
    with pytest.raises(ValueError):
        one.seal(bytes(MAX_PLAINTEXT + 1), 1.0)
    assert fault_of(other, bytes(MAX_PLAINTEXT + OVERHEAD + 1)) is MessageFault.TOO_LONG
    for size in range(OVERHEAD):
        assert fault_of(other, bytes(size)) is MessageFault.TOO_SHORT
    assert other.open(one.seal(b"", 1.0), 1.0) == b""


@pytest.mark.requirement("BLE-21")
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.1, 0.5]), st.sampled_from([0, 5, 300, 3000]))
@settings(max_examples=12, deadline=None)
def test_lost_repeated_and_reordered(seed: int, loss: float, reach: int) -> None:
    chance = random.Random(seed)
    one, other = pair()
    traffic = []
    count = 1500
    for number in range(count):
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            if chance.random() >= loss:
                traffic.append((number + chance.random() * reach, number))
    sealed = [one.seal(number.to_bytes(2, "big"), 1.0) for number in range(count)]
    traffic.sort()
    taken: set[int] = set()
    highest = -1
    for _, number in traffic:
        try:
            plaintext = other.open(sealed[number], 1.0)
        except MessageRefused as refused:
            late = highest - number >= WINDOW
            assert refused.fault is (MessageFault.TOO_OLD if late else MessageFault.REPLAYED)
            assert late or number in taken
        else:
            assert plaintext == number.to_bytes(2, "big")
            assert number not in taken
            taken.add(number)
        highest = max(highest, number)
    if reach <= WINDOW:
        # Nothing comes so late that it is refused for that: what was not lost is there.
        assert taken == {number for _, number in traffic}


@given(st.lists(st.integers(0, 300), max_size=80), st.sampled_from([1, 8, 64]))
@settings(deadline=None)
def test_the_window_says_what_a_set_says(numbers: list[int], size: int) -> None:
    window = ReplayWindow(size)
    seen: set[int] = set()
    for number in numbers:
        highest = max(seen, default=-1)
        expected = None
        if highest - number >= size:
            expected = MessageFault.TOO_OLD
        elif number in seen:
            expected = MessageFault.REPLAYED
        assert window.fault(number) is expected
        if expected is None:
            window.mark(number)
            seen.add(number)


def test_a_jump_to_the_end_costs_no_memory() -> None:
    window = ReplayWindow()
    window.mark(0)
    tracemalloc.start()
    try:
        window.mark(2**32 - 1)
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()
    assert window._seen.bit_length() <= WINDOW
    assert window.fault(0) is MessageFault.TOO_OLD and window.fault(2**32 - 2) is None


@given(st.binary(max_size=80))
def test_no_bytes_raise_anything_else(sealed: bytes) -> None:
    _, other = pair()
    with pytest.raises(MessageRefused):
        other.open(sealed, 1.0)


def test_a_session_is_renewed_after_so_many_messages_or_so_much_time() -> None:
    limits = SessionLimits(renew_messages=4, renew_s=100, end_s=500)
    one, other = pair(limits)
    assert not one.renewal_due(99.9) and one.renewal_due(100.0)
    for _ in range(2):
        other.open(one.seal(b"", 1.0), 1.0)
        assert not one.renewal_due(1.0)
        one.open(other.seal(b"", 1.0), 1.0)
    assert one.renewal_due(1.0) and not one.expired(499.9)


def test_a_session_ends() -> None:
    one, other = pair(SessionLimits(end_s=500))
    sealed = one.seal(b"", 1.0)
    with pytest.raises(NoSession):
        other.open(sealed, 500.0)
    assert not other.open_for_use
    # A clock that goes back does not bring it to life.
    with pytest.raises(NoSession):
        other.open(sealed, 1.0)


def test_numbers_are_not_used_twice() -> None:
    one, _ = pair()
    one._sending.nonce = 2**32 - 2
    assert one.seal(b"", 1.0)[:4] == b"\xff\xff\xff\xfe"
    with pytest.raises(NoSession):
        one.seal(b"", 1.0)


def test_closing_drops_the_keys() -> None:
    one, _ = pair()
    one.close()
    assert one._sending._cipher is None and one._receiving._cipher is None
    for call in (one.seal, one.open):
        with pytest.raises(NoSession):
            call(bytes(40), 1.0)


def test_nothing_shows_a_key() -> None:
    one, _ = pair()
    assert repr(one) == "<Session with 6f6e2d6169722d32, sent 0, received 0>"


def test_the_id_on_the_air_is_the_keys() -> None:
    key = bytes(range(32))
    assert on_air_id_of(key).hex() == "630dcd2966c43366"
    assert is_on_air_id_of(on_air_id_of(key), key)
    assert not is_on_air_id_of(b"on-air-1", key) and not is_on_air_id_of(b"", key)
