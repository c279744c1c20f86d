"""Announces at the edge of a mesh."""

import zlib
from random import Random

import pytest

from bitrelay.gateway.announce_filter import AnnounceFilter, NewestAnnounces
from bitrelay.gateway.announce_proof import is_signed, signer_of
from bitrelay.gateway.bridge_frame import BridgeFrame, parse_frame
from bitrelay.gateway.crossing import Drop
from bitrelay.lab.phone_identity import PhoneIdentity, announce_payload
from shared_protocol.announce import NICKNAME, NOISE_KEY, SIGNING_KEY
from shared_protocol.frame import TYPE_ANNOUNCE, encode

from .bridge_frames import ALICE, BOB, EVE, WALL, announce, frame, made


def fields_of(noise: PhoneIdentity, signing: PhoneIdentity, nickname: bytes = b"x") -> bytes:
    fields = [(NICKNAME, nickname), (NOISE_KEY, noise.noise_key), (SIGNING_KEY, signing.signing_key)]
    return announce_payload(fields)


def in_anothers_name() -> BridgeFrame:
    """Eve's signature for Alice's id: that anybody can do."""
    return made(EVE.signed(encode(TYPE_ANNOUNCE, 7, WALL, ALICE.peer_id, fields_of(ALICE, EVE))))


def test_an_announce_is_proved_whatever_its_ttl() -> None:
    for ttl in (7, 3):
        found = announce()
        heard = made(found.value[:2] + bytes((ttl,)) + found.value[3:])
        assert signer_of(heard) == ALICE.signing_key
        assert is_signed(heard, ALICE.signing_key)


@pytest.mark.parametrize(
    "forged",
    [
        frame(TYPE_ANNOUNCE, payload=fields_of(ALICE, ALICE)),
        frame(TYPE_ANNOUNCE, payload=fields_of(ALICE, ALICE), signature=bytes(64)),
        frame(TYPE_ANNOUNCE, payload=b"", signature=bytes(64)),
        made(BOB.signed(encode(TYPE_ANNOUNCE, 7, WALL, ALICE.peer_id, fields_of(BOB, BOB)))),
        made(BOB.signed(encode(TYPE_ANNOUNCE, 7, WALL, ALICE.peer_id, fields_of(ALICE, ALICE)))),
    ],
    ids=["unsigned", "bad signature", "empty", "another's id", "another's signature"],
)
def test_a_forged_announce_does_not_cross_and_uses_up_nothing(forged: BridgeFrame) -> None:
    announces = AnnounceFilter()
    assert announces.judge(forged, 60, 0) is Drop.ANNOUNCE_FORGED
    assert announces.judge(announce(), 60, 0) == ALICE.signing_key


def test_a_compressed_announce_is_read_and_one_that_bursts_is_not() -> None:
    payload = fields_of(ALICE, ALICE, b"a" * 200)
    packer = zlib.compressobj(wbits=-15)
    body = packer.compress(payload) + packer.flush()
    fits = made(ALICE.signed(encode(TYPE_ANNOUNCE, 7, WALL, ALICE.peer_id, body, original_size=len(payload))))
    assert AnnounceFilter().judge(fits, 60, 0) == ALICE.signing_key
    for size in (len(payload) - 1, len(payload) + 1, 60_000):
        lies = made(ALICE.signed(encode(TYPE_ANNOUNCE, 7, WALL, ALICE.peer_id, body, original_size=size)))
        assert signer_of(lies) is None
    garbage = made(ALICE.signed(encode(TYPE_ANNOUNCE, 7, WALL, ALICE.peer_id, b"\xff" * 90, original_size=90)))
    assert signer_of(garbage) is None


def test_no_bytes_make_it_raise() -> None:
    rng = Random(1)
    good = bytearray(announce().value)
    for _ in range(2000):
        altered = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            altered[rng.randrange(len(altered))] = rng.randrange(256)
        found = parse_frame(bytes(altered[: rng.randrange(22, len(altered) + 1)]))
        if found is not None:
            signer_of(found)


def test_one_announce_an_author_in_so_long() -> None:
    announces = AnnounceFilter()
    verdicts = [announces.judge(announce(at=WALL + now * 1000), 60, now) for now in range(0, 180, 15)]
    assert [index for index, verdict in enumerate(verdicts) if verdict == ALICE.signing_key] == [0, 4, 8]
    assert verdicts.count(Drop.ANNOUNCE_RATE) == 9
    assert announces.judge(announce(BOB), 60, 1) == BOB.signing_key


def test_nobody_uses_up_anothers_rate() -> None:
    announces = AnnounceFilter()
    assert announces.judge(in_anothers_name(), 60, 0) == EVE.signing_key
    assert announces.judge(announce(), 60, 1) == ALICE.signing_key


def test_the_rate_is_asked_before_the_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []
    monkeypatch.setattr(
        "bitrelay.gateway.announce_filter.is_signed", lambda frame, signer: checked.append(frame) or True
    )
    announces = AnnounceFilter()
    for now in range(10):
        announces.judge(announce(), 60, now)
    assert len(checked) == 1


def test_authors_are_bounded_and_forgotten() -> None:
    announces = AnnounceFilter(most=3)
    for number in range(6):
        announces.judge(announce(PhoneIdentity(f"phone {number}")), 60, number)
    assert len(announces) == 3
    announces.judge(announce(PhoneIdentity("phone 3")), 0, 6)  # again, so it is the newest now
    announces.forget(60, 65)
    assert len(announces) == 1
    announces.forget(60, 66)
    assert len(announces) == 0


def test_a_kept_announce_goes_before_talk_where_none_went_lately() -> None:
    newest = NewestAnnounces()
    first = announce()
    assert newest.due(ALICE.peer_id, ("B",), 60, 0, WALL) == ()
    newest.keep(first, ALICE.signing_key, 0, WALL)
    newest.crossed(first, ("B",), 0)
    assert newest.due(ALICE.peer_id, ("B",), 60, 59, WALL + 59_000) == ()
    assert newest.due(ALICE.peer_id, ("B", "C"), 60, 1, WALL + 1000) == (first,)
    assert newest.due(ALICE.peer_id, ("B", "C"), 60, 2, WALL + 2000) == ()
    assert newest.due(ALICE.peer_id, ("B",), 60, 62, WALL + 62_000) == (first,)
    # Phones would not take it any more.
    assert newest.due(ALICE.peer_id, ("B",), 60, 125, WALL + 125_000) == ()
    newest.forget(239)
    assert len(newest) == 1
    newest.forget(241)
    assert len(newest) == 0


def test_the_newest_is_kept_and_nobody_elses() -> None:
    newest = NewestAnnounces()
    for found, signer in (
        (announce(at=WALL + 1), ALICE.signing_key),
        (announce(at=WALL + 2), ALICE.signing_key),
        (announce(at=WALL), ALICE.signing_key),
        (in_anothers_name(), EVE.signing_key),
    ):
        newest.keep(found, signer, 0, WALL)
    (kept,) = newest.due(ALICE.peer_id, ("B",), 60, 0, WALL)
    assert kept.timestamp_ms == WALL + 2
    # When his is too old, it no longer stands in another's way.
    later = WALL + 130_000
    claimed = made(EVE.signed(encode(TYPE_ANNOUNCE, 7, later, ALICE.peer_id, fields_of(ALICE, EVE))))
    newest.keep(claimed, EVE.signing_key, 130, later)
    assert newest.due(ALICE.peer_id, ("B",), 60, 130, later) == (claimed,)


def test_kept_announces_are_bounded() -> None:
    newest = NewestAnnounces(most=2)
    for number in range(5):
        phone = PhoneIdentity(f"phone {number}")
        newest.keep(announce(phone), phone.signing_key, number, WALL)
    assert len(newest) == 2


def test_a_newer_announce_is_kept_for_longer_and_the_targets_it_knows_are_bounded() -> None:
    newest = NewestAnnounces()
    for now in (0, 200):
        newest.keep(announce(at=WALL + now * 1000), ALICE.signing_key, now, WALL + now * 1000)
    newest.forget(300)
    assert len(newest) == 1
    for number in range(300):
        assert newest.due(ALICE.peer_id, (f"mesh {number}",), 60, 300, WALL + 300_000)
    assert newest.due(ALICE.peer_id, ("mesh 299",), 60, 301, WALL + 301_000) == ()
    assert newest.due(ALICE.peer_id, ("mesh 0",), 60, 301, WALL + 301_000)
