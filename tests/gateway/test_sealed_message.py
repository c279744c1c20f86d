"""What a broker cannot do to messages of a fleet."""

import pytest

from bitrelay.gateway import sealed_message
from bitrelay.gateway.sealed_message import (
    FRESH_MS,
    OVERHEAD,
    Kind,
    Opened,
    Opener,
    Refusal,
    Refused,
    Sealer,
    fleet_tag,
)

KEY = bytes(range(32))
A, B = b"a" * 32, b"b" * 32
TOPIC = "bitrelay/1/mesh/west/frames"
NOW_S = 1_800_000_000.0


class Wall:
    """Unix seconds, as told."""

    def __init__(self) -> None:
        self.s = NOW_S

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def sealer(wall: Wall) -> Sealer:
    made = Sealer(A, KEY, wall)
    made.begin()
    return made


@pytest.fixture
def opener(wall: Wall) -> Opener:
    return Opener(B, KEY, wall, most=1000)


def why(result: Opened | Refused) -> Refusal | None:
    return result.why if isinstance(result, Refused) else None


def test_what_was_sealed_opens_once(sealer: Sealer, opener: Opener) -> None:
    sealed = sealer.seal(TOPIC, Kind.MESSAGE, b"frame")
    assert len(sealed) == len(b"frame") + OVERHEAD
    assert opener.open(TOPIC, sealed) == Opened(A, Kind.MESSAGE, b"frame")
    assert why(opener.open(TOPIC, sealed)) is Refusal.REPLAYED


def test_order_does_not_matter(sealer: Sealer, opener: Opener) -> None:
    sealed = [sealer.seal(TOPIC, Kind.MESSAGE, bytes((n,))) for n in range(50)]
    assert all(isinstance(opener.open(TOPIC, each), Opened) for each in reversed(sealed))
    assert {why(opener.open(TOPIC, each)) for each in sealed} == {Refusal.REPLAYED}


@pytest.mark.requirement("GWY-22")
def test_nobody_without_the_key_reads_or_forges(wall: Wall, sealer: Sealer, opener: Opener) -> None:
    sealed = sealer.seal(TOPIC, Kind.MESSAGE, b"secret words")
    assert b"secret" not in sealed
    assert A not in sealed
    stranger = Sealer(A, bytes(32), wall)
    stranger.begin()
    assert why(opener.open(TOPIC, stranger.seal(TOPIC, Kind.MESSAGE, b"x"))) is Refusal.FORGED
    for at in range(len(sealed)):
        damaged = sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :]
        assert why(opener.open(TOPIC, damaged)) is Refusal.FORGED
    assert isinstance(opener.open(TOPIC, sealed), Opened)


def test_it_opens_at_its_own_topic_only(sealer: Sealer, opener: Opener) -> None:
    assert why(opener.open(TOPIC + "x", sealer.seal(TOPIC, Kind.MESSAGE, b"x"))) is Refusal.FORGED


@pytest.mark.parametrize("size", [0, 1, OVERHEAD - 1, OVERHEAD + 1001])
def test_sizes_are_bounded(opener: Opener, size: int) -> None:
    assert why(opener.open(TOPIC, bytes(size))) is Refusal.SIZE


@pytest.mark.parametrize(
    ("late_s", "taken"), [(59, True), (60, True), (61, False), (-60, True), (-61, False), (86_400, False)]
)
def test_only_what_is_fresh(wall: Wall, sealer: Sealer, opener: Opener, late_s: int, taken: bool) -> None:
    sealed = sealer.seal(TOPIC, Kind.MESSAGE, b"x")
    wall.s += late_s
    result = opener.open(TOPIC, sealed)
    assert isinstance(result, Opened) if taken else result == Refused(Refusal.STALE, A, int(NOW_S * 1000), late_s)


def test_our_own_come_back_to_nobody(wall: Wall, sealer: Sealer) -> None:
    assert why(Opener(A, KEY, wall, 100).open(TOPIC, sealer.seal(TOPIC, Kind.MESSAGE, b"x"))) is Refusal.OWN


def test_what_somebody_else_seals_as_us_is_recognised(wall: Wall, sealer: Sealer) -> None:
    ours = int(NOW_S * 1000)
    sealer.begin()
    wall.s += 10
    twin = Sealer(A, KEY, wall)
    twin.begin()
    refused = Opener(A, KEY, wall, 100).open(TOPIC, twin.seal(TOPIC, Kind.HELLO, b""))
    assert isinstance(refused, Refused) and refused.session is not None
    assert not sealer.is_ours(refused.session)
    assert [sealer.is_ours(session) for session in (ours - 5, ours, ours + 1)] == [True, True, True]


def test_the_last_hello_opens_again_and_older_ones_do_not(sealer: Sealer, opener: Opener) -> None:
    first, last = (sealer.seal(TOPIC, Kind.HELLO, each) for each in (b"1", b"2"))
    for sealed in (first, last, last):
        assert isinstance(opener.open(TOPIC, sealed), Opened)
    assert why(opener.open(TOPIC, first)) is Refusal.REPLAYED


def test_gone_ends_its_session_whenever_it_comes(wall: Wall, sealer: Sealer, opener: Opener) -> None:
    will = sealer.seal(TOPIC, Kind.GONE, b"")
    hello = sealer.seal(TOPIC, Kind.HELLO, b"1")
    assert why(opener.open(TOPIC, will)) is Refusal.OLD_SESSION, "of somebody who has not come"
    assert isinstance(opener.open(TOPIC, hello), Opened)
    wall.s += 3600
    late = sealer.seal(TOPIC, Kind.MESSAGE, b"x")
    assert isinstance(opener.open(TOPIC, late), Opened)
    assert opener.open(TOPIC, will) == Opened(A, Kind.GONE, b"")
    for sealed in (will, hello, sealer.seal(TOPIC, Kind.MESSAGE, b"after")):
        assert isinstance(opener.open(TOPIC, sealed), Refused)


def test_a_new_session_ends_the_one_before(wall: Wall, sealer: Sealer, opener: Opener) -> None:
    will = sealer.seal(TOPIC, Kind.GONE, b"")
    kept_back = sealer.seal(TOPIC, Kind.MESSAGE, b"old")
    assert isinstance(opener.open(TOPIC, sealer.seal(TOPIC, Kind.MESSAGE, b"1")), Opened)
    sealer.begin()  # within the same millisecond
    assert isinstance(opener.open(TOPIC, sealer.seal(TOPIC, Kind.MESSAGE, b"2")), Opened)
    assert why(opener.open(TOPIC, kept_back)) is Refusal.OLD_SESSION
    assert why(opener.open(TOPIC, will)) is Refusal.OLD_SESSION
    assert isinstance(opener.open(TOPIC, sealer.seal(TOPIC, Kind.MESSAGE, b"3")), Opened)


def test_a_clock_that_was_set_back_is_let_in_again(wall: Wall, sealer: Sealer, opener: Opener) -> None:
    assert isinstance(opener.open(TOPIC, sealer.seal(TOPIC, Kind.MESSAGE, b"1")), Opened)
    wall.s -= 50
    restarted = Sealer(A, KEY, wall)
    restarted.begin()
    wall.s += 60
    assert why(opener.open(TOPIC, restarted.seal(TOPIC, Kind.MESSAGE, b"2"))) is Refusal.OLD_SESSION
    wall.s += 2 * FRESH_MS / 1000
    assert isinstance(opener.open(TOPIC, restarted.seal(TOPIC, Kind.MESSAGE, b"3")), Opened)


def test_senders_are_bounded_and_old_ones_make_room(
    wall: Wall, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed_message, "MOST_SENDERS", 3)
    results = []
    for number in range(4):
        each = Sealer(bytes((number,)) * 32, KEY, wall)
        each.begin()
        results.append(why(opener.open(TOPIC, each.seal(TOPIC, Kind.MESSAGE, b"x"))))
    assert results == [None, None, None, Refusal.TOO_MANY]
    wall.s += 2 * FRESH_MS / 1000 + 1
    assert isinstance(opener.open(TOPIC, each.seal(TOPIC, Kind.MESSAGE, b"x")), Opened)


def test_a_tag_is_the_key_s_own_and_does_not_give_it_away() -> None:
    assert fleet_tag(KEY) == fleet_tag(KEY) != fleet_tag(bytes(32))
    assert len(fleet_tag(KEY)) == 16
