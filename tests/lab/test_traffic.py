"""The lab's traffic is real, and its account of what arrived is strict."""

import random

import pytest
from nacl.signing import VerifyKey

from bitrelay.lab.frame_maker import FrameMaker, Kind
from bitrelay.lab.ledger import Ledger, percentile
from bitrelay.lab.phone_identity import PhoneIdentity
from shared_protocol import announce, fragment
from shared_protocol.frame import Header, is_broadcast, signing_preimage

AUTHOR = PhoneIdentity("author")
RECIPIENT = PhoneIdentity("recipient").peer_id


def parsed(value: bytes) -> Header:
    header = Header()
    assert header.parse(value, len(value)) > 0
    return header


def signing_key() -> VerifyKey:
    frame = AUTHOR.announce(1)
    header = parsed(frame)
    fields = announce.parse(frame[header.payload_at : header.payload_at + header.payload_len])
    assert fields is not None
    key = fields["signing_key"]
    assert isinstance(key, bytes)
    return VerifyKey(key)


@pytest.fixture
def maker() -> FrameMaker:
    return FrameMaker(AUTHOR, random.Random(1))


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_fits_one_value_and_no_frame_comes_twice(maker: FrameMaker, kind: Kind) -> None:
    values = [value for _ in range(12) for value in maker.make(kind, RECIPIENT)]
    for value in values:
        header = parsed(value)
        assert len(value) <= 512
        assert header.ttl == 7
        assert value[header.sender_at : header.sender_at + 8] == AUTHOR.peer_id
    assert len(set(values)) == len(values)


@pytest.mark.parametrize("kind", [Kind.PUBLIC, Kind.ROUTED, Kind.ANNOUNCE])
def test_signatures_hold(maker: FrameMaker, kind: Kind) -> None:
    (value,) = maker.make(kind, RECIPIENT)
    at = parsed(value).signature_at
    signing_key().verify(signing_preimage(value), value[at : at + 64])


def test_noise_fills_both_buckets_and_the_gaps_without_padding(maker: FrameMaker) -> None:
    lengths = {len(maker.make(Kind.NOISE, RECIPIENT)[0]) for _ in range(60)}
    assert {256, 512} <= lengths
    assert any(241 <= length < 256 for length in lengths)
    assert any(497 <= length < 512 for length in lengths)


def test_public_messages_come_in_both_forms_of_broadcast(maker: FrameMaker) -> None:
    frames = [maker.make(Kind.PUBLIC, RECIPIENT)[0] for _ in range(2)]
    assert all(is_broadcast(frame, parsed(frame)) for frame in frames)
    assert [parsed(frame).recipient_at > 0 for frame in frames] == [False, True]


def test_routed_frames_are_version_2_with_hops(maker: FrameMaker) -> None:
    header = parsed(maker.make(Kind.ROUTED, RECIPIENT)[0])
    assert header.version == 2
    assert 1 <= header.route_count <= 4


def test_fragments_make_up_a_signed_file_again(maker: FrameMaker) -> None:
    values = maker.make(Kind.FILE, RECIPIENT)
    assert {len(value) for value in values[:-1]} == {512}
    whole = b""
    for number, value in enumerate(values):
        header = parsed(value)
        assert fragment.parse(value, header.payload_at, header.payload_len) == (number, len(values), 0x22)
        whole += value[header.payload_at + fragment.HEADER_SIZE : header.payload_at + header.payload_len]
    header = parsed(whole)
    assert (header.version, header.type, header.frame_len) == (2, 0x22, len(whole))
    signing_key().verify(signing_preimage(whole), whole[-64:])


def relayed(value: bytes, hops: int) -> bytes:
    return value[:2] + bytes((value[2] - hops,)) + value[3:]


def test_ledger_of_a_perfect_run(maker: FrameMaker) -> None:
    ledger = Ledger()
    for number, kind in enumerate(Kind):
        for value in maker.make(kind, RECIPIENT):
            ledger.sent(value, "a", frozenset(("b",)), float(number), hops=3)
            ledger.arrived("b", relayed(value, 3), number + 0.1)
    report = ledger.report()
    assert report.is_perfect
    assert report.sent == report.delivered > len(Kind)
    assert report.p50_ms == pytest.approx(100)
    assert ledger.underway("a", 0.0) == 0


@pytest.mark.parametrize(
    ("arrivals", "wrong"),
    [
        ((), {"delivered": 0}),
        ((lambda v: relayed(v, 3),) * 2, {"duplicates": 1}),
        ((lambda v: relayed(v, 3)[:-1] + b"\x00",), {"delivered": 0, "altered": 1}),
        ((lambda v: relayed(v, 3) + b"\x00",), {"delivered": 0, "altered": 1}),
        ((lambda v: relayed(v, 2),), {"ttl_ok": False}),
        ((lambda v: v,), {"ttl_ok": False}),
        ((lambda v: relayed(v, 3), lambda v: b"\x01\x02" + bytes(60)), {"unexpected": 1}),
    ],
)
def test_ledger_sees_what_went_wrong(maker: FrameMaker, arrivals: tuple, wrong: dict) -> None:  # type: ignore[type-arg]
    ledger = Ledger()
    (value,) = maker.make(Kind.DIRECTED, RECIPIENT)
    value = value[:-1] + b"\x01"
    ledger.sent(value, "a", frozenset(("b",)), 0.0, hops=3)
    for change in arrivals:
        ledger.arrived("b", change(value), 0.1)
    report = ledger.report()
    right = {"delivered": 1, "duplicates": 0, "altered": 0, "unexpected": 0, "ttl_ok": True}
    assert {name: getattr(report, name) for name in right} == right | wrong
    assert not report.is_perfect
    assert len(ledger.missing()) == 1 - report.delivered


def test_frames_overheard_by_others_are_checked_and_not_counted(maker: FrameMaker) -> None:
    ledger = Ledger()
    (value,) = maker.make(Kind.DIRECTED, RECIPIENT)
    ledger.sent(value, "a", frozenset(("b",)), 0.0, hops=3)
    ledger.arrived("c", relayed(value, 1), 0.1)
    report = ledger.report()
    assert (report.delivered, report.duplicates, report.ttl_ok) == (0, 0, True)
    assert ledger.underway("a", 0.0) == 1


def test_same_bytes_cannot_be_booked_twice(maker: FrameMaker) -> None:
    ledger = Ledger()
    (value,) = maker.make(Kind.DIRECTED, RECIPIENT)
    ledger.sent(value, "a", frozenset(("b",)), 0.0)
    with pytest.raises(ValueError, match="sent before"):
        ledger.sent(relayed(value, 1), "a", frozenset(("b",)), 0.0)


@pytest.mark.parametrize(
    ("values", "percent", "wanted"),
    [([], 50, None), ([3.0], 95, 3.0), ([4.0, 1.0, 3.0, 2.0], 50, 2.0), ([float(n) for n in range(1, 101)], 95, 95.0)],
)
def test_percentile(values: list[float], percent: float, wanted: float | None) -> None:
    assert percentile(values, percent) == wanted
