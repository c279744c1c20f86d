"""Which packets claim who is at the end of a link, and what makes them no claim."""

import hashlib

import pytest

from bitrelay.ble.claim import MAX_AGE_MS, claimed_in
from bitrelay.identity.record import to_record
from bitrelay.lab.phone_identity import PhoneIdentity
from shared_protocol.frame import MAX_TTL, TYPE_IDENTITY, Header, encode
from tests.identity.conftest import NOW, challenge, identity, keys  # noqa: F401

NOW_MS = NOW * 1000
ALICE = PhoneIdentity("alice")


def claim_in(frame: bytes, now_ms: int = NOW_MS, difficulty: int = 16) -> object:
    header = Header()
    assert header.parse(frame, len(frame)) > 0
    return claimed_in(frame, header, now_ms, difficulty)


@pytest.mark.requirement("BLE-08")
def test_an_announce_with_ttl_7_names_both_ids() -> None:
    found = claim_in(ALICE.announce(NOW_MS))
    assert found is not None
    assert found.on_air_id == ALICE.peer_id  # type: ignore[attr-defined]
    assert found.peer_id == hashlib.sha256(found.signing_key).digest()  # type: ignore[attr-defined]
    assert found.work is None  # type: ignore[attr-defined]


@pytest.mark.requirement("BLE-08")
def test_an_identity_record_names_them_and_brings_its_work(keys, identity) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    record = to_record(identity, keys)
    found = claim_in(encode(TYPE_IDENTITY, 1, 0, keys.on_air_id, record), NOW_MS + 20_000)
    assert found is not None
    assert (found.on_air_id, found.peer_id, found.work.difficulty) == (keys.on_air_id, keys.peer_id, 16)


def test_what_a_record_must_not_be(keys, identity) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    record = to_record(identity, keys)
    good = encode(TYPE_IDENTITY, 1, 0, keys.on_air_id, record)
    later = NOW_MS + 20_000
    assert claim_in(good, later) is not None
    # Of somebody else, from farther away, too easy, expired, altered, nothing.
    assert claim_in(encode(TYPE_IDENTITY, 1, 0, b"somebody", record), later) is None
    assert claim_in(encode(TYPE_IDENTITY, 2, 0, keys.on_air_id, record), later) is None
    assert claim_in(good, later, difficulty=17) is None
    assert claim_in(good, later + 8 * 86_400_000) is None
    for at in range(0, len(record), 29):
        altered = bytearray(record)
        altered[at] ^= 1
        assert claim_in(encode(TYPE_IDENTITY, 1, 0, keys.on_air_id, bytes(altered)), later) is None
    assert claim_in(encode(TYPE_IDENTITY, 1, 0, keys.on_air_id, b""), later) is None


def test_what_an_announce_must_not_be() -> None:
    good = ALICE.announce(NOW_MS)
    assert claim_in(good, NOW_MS + MAX_AGE_MS) is not None
    assert claim_in(good, NOW_MS + MAX_AGE_MS + 1) is None
    assert claim_in(good, NOW_MS - MAX_AGE_MS - 1) is None
    assert claim_in(good[:2] + bytes((MAX_TTL - 1,)) + good[3:]) is None
    for at in (14, 30, len(good) - 70, len(good) - 1):
        altered = bytearray(good)
        altered[at] ^= 1
        assert claim_in(bytes(altered)) is None
    unsigned = bytearray(good)
    unsigned[11] &= ~0x02
    assert claim_in(bytes(unsigned)) is None
