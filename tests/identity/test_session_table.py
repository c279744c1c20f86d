"""Sessions between nodes: who is let in, what a stranger can spoil, what is kept and for how long."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrelay.errors import HandshakeFailed, HandshakeFault, MessageFault, MessageRefused, NoSession
from bitrelay.identity.handshake_limit import HandshakeLimiter, HandshakeRate
from bitrelay.identity.noise_frames import NoiseFrames
from bitrelay.identity.session import SessionLimits
from bitrelay.identity.session_table import (
    INITIATOR_TIMEOUT_S,
    OVERLAP_S,
    RESPONDER_TIMEOUT_S,
    Housekeeping,
    Presentation,
    Progress,
    SessionTable,
)
from shared_protocol import frame

GENEROUS = HandshakeRate(per_source_per_min=1000, per_min=10000)


def table(**more: Any) -> SessionTable:
    return SessionTable(X25519PrivateKey.generate(), **{"rate": GENEROUS, **more})


def two(**more: Any) -> tuple[SessionTable, SessionTable]:
    """The one with the lower id first."""
    one, other = sorted((table(**more), table(**more)), key=lambda each: each.on_air_id)
    return one, other


def shake(one: SessionTable, other: SessionTable, now: float = 0.0) -> None:
    first = one.start(other.on_air_id, now)
    assert first is not None
    second = other.on_handshake(one.on_air_id, first, now)
    assert second.reply is not None and second.session is None
    third = one.on_handshake(other.on_air_id, second.reply, now)
    assert third.reply is not None and third.session is one.session(other.on_air_id)
    last = other.on_handshake(one.on_air_id, third.reply, now)
    assert last.reply is None and last.session is other.session(one.on_air_id)


def talk(one: SessionTable, other: SessionTable, now: float = 0.0) -> None:
    assert other.open(one.on_air_id, one.seal(other.on_air_id, b"there", now), now) == b"there"
    assert one.open(other.on_air_id, other.seal(one.on_air_id, b"back", now), now) == b"back"


def fault_of(call: Callable[[], object]) -> HandshakeFault:
    with pytest.raises(HandshakeFailed) as failed:
        call()
    return failed.value.fault


@pytest.mark.requirement("SEC-13", "SEC-16")
def test_two_nodes_come_to_a_session() -> None:
    one, other = two()
    shake(one, other)
    talk(one, other)
    mine, theirs = one.session(other.on_air_id), other.session(one.on_air_id)
    assert mine is not None and theirs is not None
    assert mine.handshake_hash == theirs.handshake_hash and len(mine.handshake_hash) == 32
    assert hashlib.sha256(mine.remote_static).digest()[:8] == other.on_air_id
    assert one.pending == other.pending == 0


@pytest.mark.parametrize("liar", ["initiator", "responder"])
def test_a_key_must_hash_to_the_id_it_is_used_under(liar: str) -> None:
    honest, crook = table(), table()
    victim = b"victim-1"
    if liar == "responder":
        first = honest.start(victim, 0.0)
        assert first is not None
        answer = crook.on_handshake(honest.on_air_id, first, 0.0).reply
        assert answer is not None
        # Not even our own identity goes to whoever answers in the place of another.
        assert fault_of(lambda: honest.on_handshake(victim, answer, 0.0)) is HandshakeFault.WRONG_PEER
    else:
        first = crook.start(honest.on_air_id, 0.0)
        assert first is not None
        reply = honest.on_handshake(victim, first, 0.0).reply
        assert reply is not None
        third = crook.on_handshake(honest.on_air_id, reply, 0.0).reply
        assert third is not None
        assert fault_of(lambda: honest.on_handshake(victim, third, 0.0)) is HandshakeFault.WRONG_PEER
    assert honest.session(victim) is None and len(honest) == 0
    assert honest.counts["handshake WRONG_PEER"] == 1


def test_strangers_do_not_spoil_a_handshake_under_way() -> None:
    one, other = two()
    first = one.start(other.on_air_id, 0.0)
    assert first is not None
    stranger = table()
    answer = stranger.on_handshake(one.on_air_id, first, 0.0).reply
    assert answer is not None
    for junk in (answer, bytes(96), b"", bytes(33)):
        with pytest.raises(HandshakeFailed):
            one.on_handshake(other.on_air_id, junk, 0.0)
    second = other.on_handshake(one.on_air_id, first, 0.0).reply
    assert second is not None
    third = one.on_handshake(other.on_air_id, second, 0.0).reply
    assert third is not None
    with pytest.raises(HandshakeFailed):
        other.on_handshake(one.on_air_id, bytes(64), 0.0)
    assert other.on_handshake(one.on_air_id, third, 0.0).session is not None
    talk(one, other)


def test_eight_wrong_answers_end_a_handshake() -> None:
    one, other = two()
    one.start(other.on_air_id, 0.0)
    for _ in range(8):
        assert one.pending == 1
        assert fault_of(lambda: one.on_handshake(other.on_air_id, bytes(96), 0.0)) is HandshakeFault.BAD_KEY
    assert one.pending == 0
    assert fault_of(lambda: one.on_handshake(other.on_air_id, bytes(96), 0.0)) is HandshakeFault.OUT_OF_TURN


def test_an_established_session_outlives_what_strangers_begin_in_its_peers_name() -> None:
    one, other = two()
    shake(one, other)
    stranger = table()
    first = stranger.start(one.on_air_id, 1.0)
    assert first is not None
    reply = one.on_handshake(other.on_air_id, first, 1.0).reply
    assert reply is not None
    third = stranger.on_handshake(one.on_air_id, reply, 1.0).reply
    assert third is not None
    with pytest.raises(HandshakeFailed):
        one.on_handshake(other.on_air_id, third, 1.0)
    talk(one, other, 2.0)
    assert one.tick(RESPONDER_TIMEOUT_S + 1) == Housekeeping(unfinished=(other.on_air_id,))
    talk(one, other, 30.0)


@pytest.mark.parametrize("delivered_first", [0, 1])
def test_both_start_at_once(delivered_first: int) -> None:
    lower, higher = two()
    firsts = [lower.start(higher.on_air_id, 0.0), higher.start(lower.on_air_id, 0.0)]
    assert firsts[0] is not None and firsts[1] is not None
    if delivered_first:
        assert lower.on_handshake(higher.on_air_id, firsts[1], 0.0) == Progress()
    second = higher.on_handshake(lower.on_air_id, firsts[0], 0.0).reply
    if not delivered_first:
        assert lower.on_handshake(higher.on_air_id, firsts[1], 0.0) == Progress()
    assert second is not None
    third = lower.on_handshake(higher.on_air_id, second, 0.0).reply
    assert third is not None
    assert higher.on_handshake(lower.on_air_id, third, 0.0).session is not None
    talk(lower, higher)
    assert lower.pending == higher.pending == 0


def test_a_first_message_that_comes_twice_is_answered_once() -> None:
    one, other = two()
    first = one.start(other.on_air_id, 0.0)
    assert first is not None
    second = other.on_handshake(one.on_air_id, first, 0.0).reply
    assert other.on_handshake(one.on_air_id, first, 0.0) == Progress()
    assert second is not None
    third = one.on_handshake(other.on_air_id, second, 0.0).reply
    assert third is not None and other.on_handshake(one.on_air_id, third, 0.0).session is not None
    assert one.start(other.on_air_id, 0.0) is not None and one.start(other.on_air_id, 0.0) is None


def test_handshakes_time_out() -> None:
    one, other = two()
    first = one.start(other.on_air_id, 0.0)
    assert first is not None
    second = other.on_handshake(one.on_air_id, first, 0.0).reply
    assert second is not None
    # Asking again brings no more time.
    again = table().start(other.on_air_id, 0.0)
    assert again is not None
    other.on_handshake(one.on_air_id, again, RESPONDER_TIMEOUT_S - 1)
    assert one.tick(INITIATOR_TIMEOUT_S - 0.1) == Housekeeping()
    assert fault_of(lambda: one.on_handshake(other.on_air_id, second, INITIATOR_TIMEOUT_S))
    assert one.tick(INITIATOR_TIMEOUT_S) == Housekeeping(timed_out=(other.on_air_id,))
    assert other.tick(RESPONDER_TIMEOUT_S) == Housekeeping(unfinished=(one.on_air_id,))
    assert one.pending == other.pending == 0
    shake(one, other, 30.0)


def test_the_identity_goes_to_peers_of_ours_and_binds_the_key() -> None:
    records = {b"record-1": b"P" * 32, b"record-2": b"Q" * 32}

    def identify(on_air_id: bytes, noise_key: bytes, payload: bytes) -> bytes | None:
        if not payload:
            return None
        if payload not in records or hashlib.sha256(noise_key).digest()[:8] != on_air_id:
            raise HandshakeFailed(HandshakeFault.WRONG_PEER)
        return records[payload]

    def presenting(record: bytes) -> Callable[[bytes], Presentation]:
        return lambda on_air_id: Presentation(b"" if on_air_id == phone.on_air_id else record)

    phone = table(identify=identify)
    one, other = (table(identify=identify, present=presenting(record)) for record in records)
    shake(one, other)
    talk(one, other)
    mine, theirs = one.session(other.on_air_id), other.session(one.on_air_id)
    assert mine is not None and mine.peer_id == b"Q" * 32 and theirs is not None and theirs.peer_id == b"P" * 32
    for first, second in ((phone, one), (other, phone)):
        shake(first, second)
        talk(first, second)
    met = one.session(phone.on_air_id)
    assert met is not None and met.peer_id is None
    crook = table(present=presenting(b"record-3"))
    first_message = crook.start(one.on_air_id, 0.0)
    assert first_message is not None
    reply = one.on_handshake(crook.on_air_id, first_message, 0.0).reply
    assert reply is not None
    third = crook.on_handshake(one.on_air_id, reply, 0.0).reply
    assert third is not None
    assert fault_of(lambda: one.on_handshake(crook.on_air_id, third, 0.0)) is HandshakeFault.WRONG_PEER
    assert one.session(crook.on_air_id) is None


def test_ends_that_begin_from_different_facts_do_not_meet() -> None:
    one = table(present=lambda _: Presentation(prologue=b"hello 1.4.0"))
    other = table(present=lambda _: Presentation(prologue=b"hello 1.0.0"))
    first = one.start(other.on_air_id, 0.0)
    assert first is not None
    second = other.on_handshake(one.on_air_id, first, 0.0).reply
    assert second is not None
    assert fault_of(lambda: one.on_handshake(other.on_air_id, second, 0.0)) is HandshakeFault.FORGED


def test_a_session_is_renewed_while_messages_are_on_their_way() -> None:
    one, other = two(limits=SessionLimits(renew_s=100, end_s=1000))
    shake(one, other)
    assert one.tick(99.0) == Housekeeping()
    assert one.tick(100.0) == Housekeeping(renew=(other.on_air_id,))
    underway = [other.seal(one.on_air_id, bytes((i,)), 100.0) for i in range(3)]
    assert one.open(other.on_air_id, underway[0], 100.0) == b"\0"
    old = one.session(other.on_air_id)
    shake(one, other, 101.0)
    assert one.session(other.on_air_id) is not old
    talk(one, other, 101.0)
    # The same number is there in both sessions.
    assert one.open(other.on_air_id, underway[1], 102.0) == b"\1"
    for again in underway[:2]:
        with pytest.raises(MessageRefused):
            one.open(other.on_air_id, again, 102.0)
    one.tick(101.0 + OVERLAP_S)
    with pytest.raises(MessageRefused) as refused:
        one.open(other.on_air_id, underway[2], 101.0 + OVERLAP_S)
    assert refused.value.fault is MessageFault.FORGED
    assert old is not None and not old.open_for_use
    assert one.tick(150.0) == Housekeeping()
    assert one.tick(1101.0) == Housekeeping() and len(one) == 0


@pytest.mark.requirement("SEC-16")
def test_keys_go_with_the_session() -> None:
    one, other = two()
    shake(one, other)
    session = one.session(other.on_air_id)
    sealed = other.seal(one.on_air_id, b"", 0.0)
    one.start(other.on_air_id, 0.0)
    one.close(other.on_air_id)
    assert session is not None and not session.open_for_use and one.pending == 0
    for call in (one.open, one.seal):
        with pytest.raises(NoSession):
            call(other.on_air_id, sealed, 0.0)
    other.close_all()
    assert len(other) == 0


def test_sessions_are_bounded_and_the_idlest_goes() -> None:
    hub = table(max_sessions=3)
    peers = [table() for _ in range(4)]
    for at, peer in enumerate(peers[:3]):
        shake(peer, hub, float(at))
    # To take something or to send something is to be in use.
    hub.open(peers[0].on_air_id, peers[0].seal(hub.on_air_id, b"", 5.0), 5.0)
    hub.seal(peers[1].on_air_id, b"", 6.0)
    idle = hub.session(peers[2].on_air_id)
    shake(hub, peers[3], 7.0)
    assert len(hub) == 3 and hub.counts["sessions evicted"] == 1
    assert [hub.session(peer.on_air_id) is not None for peer in peers] == [True, True, False, True]
    assert idle is not None and not idle.open_for_use


def test_handshakes_under_way_are_bounded() -> None:
    hub = table(max_pending=3)
    for _ in range(3):
        peer = table()
        first = peer.start(hub.on_air_id, 0.0)
        assert first is not None
        hub.on_handshake(peer.on_air_id, first, 0.0)
    late = table()
    first = late.start(hub.on_air_id, 0.0)
    assert first is not None
    assert fault_of(lambda: hub.on_handshake(late.on_air_id, first, 0.0)) is HandshakeFault.TOO_MANY
    assert fault_of(lambda: hub.start(late.on_air_id, 0.0)) is HandshakeFault.TOO_MANY
    hub.tick(RESPONDER_TIMEOUT_S)
    shake(late := table(), hub, RESPONDER_TIMEOUT_S)
    assert hub.session(late.on_air_id) is not None


def test_one_source_gets_so_many_handshakes_and_all_together_so_many() -> None:
    hub = table(rate=HandshakeRate(per_source_per_min=10, per_min=30), max_pending=1000)

    def ask(source: str | None, now: float) -> bool:
        peer = table()
        first = peer.start(hub.on_air_id, now)
        assert first is not None
        try:
            return hub.on_handshake(peer.on_air_id, first, now, source).reply is not None
        except HandshakeFailed as failed:
            assert failed.fault is HandshakeFault.TOO_MANY
            return False

    # Under ever new ids, on one link.
    assert sum(ask("link 1", 0.0) for _ in range(20)) == 10
    assert sum(ask(None, 0.0) for _ in range(30)) == 20
    assert not ask("link 2", 0.0)
    # What others ask for does not keep this node from starting.
    assert hub.start(b"on-air-9", 0.0) is not None
    assert sum(ask("link 1", 6.0) for _ in range(20)) == 1
    assert hub.counts["handshake TOO_MANY"] == 10 + 10 + 1 + 19


def test_the_limiter_remembers_so_many_sources_and_a_clock_that_goes_back_brings_nothing() -> None:
    limiter = HandshakeLimiter(HandshakeRate(per_source_per_min=1, per_min=1000, sources=2))
    assert limiter.allow("a", 10.0) and not limiter.allow("a", 10.0) and not limiter.allow("a", 5.0)
    assert limiter.allow("b", 10.0) and limiter.allow("c", 10.0)
    assert len(limiter._sources) == 2
    assert not limiter.allow("c", 5.0) and not limiter.allow("c", 69.9) and limiter.allow("c", 70.1)


def test_a_node_does_not_talk_to_itself() -> None:
    one = table()
    assert fault_of(lambda: one.start(one.on_air_id, 0.0)) is HandshakeFault.WRONG_PEER
    assert fault_of(lambda: one.on_handshake(one.on_air_id, bytes(32), 0.0)) is HandshakeFault.WRONG_PEER


@given(
    st.lists(st.one_of(st.binary(max_size=120), st.sampled_from([32, 64, 96]).map(bytes)), max_size=5), st.booleans()
)
@settings(max_examples=40, deadline=None)
def test_no_bytes_raise_anything_else(messages: list[bytes], started: bool) -> None:
    one = table(max_pending=2)
    if started:
        one.start(b"on-air-1", 0.0)
    for message in messages:
        try:
            one.on_handshake(b"on-air-1", message, 0.0)
        except HandshakeFailed:
            pass
        with pytest.raises(NoSession):
            one.open(b"on-air-1", message, 0.0)
    assert len(one) == 0 and one.pending <= 2
    assert repr(one).startswith("<SessionTable of ")


# What travels between two nodes in packets, for a while, on a medium that may lose, repeat and reorder each.
@given(st.data())
@settings(max_examples=20, deadline=None)
def test_packets_on_a_bad_medium(data: st.DataObject) -> None:
    ends = [NoiseFrames(each) for each in two()]
    ids = [end.table.on_air_id for end in ends]
    opened: list[list[bytes]] = [[], []]
    air: list[tuple[int, bytes]] = []
    clock = 0
    said = 0

    def send(to: int, sent: bytes | None) -> None:
        if sent is not None:
            assert len(sent) in (256, 512) and sent[:3] in (b"\x01\x10\x07", b"\x01\x11\x07")
            air.append((to, sent))

    for _ in range(40):
        clock += 1
        what = data.draw(st.sampled_from(["start", "say", "say", "move", "move", "move", "repeat", "lose"]))
        who = data.draw(st.integers(0, 1))
        if what == "start":
            send(1 - who, ends[who].start(ids[1 - who], clock, clock))
        elif what == "say":
            try:
                said += 1
                send(1 - who, ends[who].seal(ids[1 - who], b"\x01%d" % said, clock, clock))
            except NoSession:
                assert ends[who].table.session(ids[1 - who]) is None
        elif air:
            at = data.draw(st.integers(0, len(air) - 1))
            to, sent = air[at] if what == "repeat" else air.pop(at)
            if what == "lose":
                continue
            try:
                received = ends[to].on_frame(sent, clock, clock)
            except (HandshakeFailed, MessageRefused, NoSession) as error:
                assert error.device == ids[1 - to].hex()
                continue
            assert received is not None and received.sender == ids[1 - to]
            send(1 - to, received.reply)
            if received.plaintext is not None:
                opened[to].append(received.plaintext)
    for got in opened:
        assert len(got) == len(set(got)) and all(text[:1] == b"\x01" for text in got)
    # Whatever happened, another handshake gets through once the medium is good.
    for end in ends:
        end.table.tick(1000.0)
    shake(ends[0].table, ends[1].table, 1000.0)
    talk(ends[0].table, ends[1].table, 1000.0)


def test_packets_for_others_are_left_alone() -> None:
    one, other = (NoiseFrames(each) for each in two())
    sent = one.start(other.table.on_air_id, 0.0, 1)
    assert sent is not None
    assert NoiseFrames(table()).on_frame(sent, 0.0, 1) is None
    header = frame.Header()
    assert header.parse(sent, len(sent)) == 22 + 8 + 32
    plain = frame.encode(frame.TYPE_NOISE_HANDSHAKE, 7, 1, one.table.on_air_id, bytes(32))
    message = frame.encode(frame.TYPE_MESSAGE, 7, 1, one.table.on_air_id, b"x", recipient=other.table.on_air_id)
    for ignored in (b"", sent[:30], plain, message):
        assert other.on_frame(ignored, 0.0, 1) is None
    for kind, error in ((frame.TYPE_NOISE_HANDSHAKE, HandshakeFailed), (frame.TYPE_NOISE_ENCRYPTED, MessageRefused)):
        squeezed = frame.encode(
            kind, 7, 1, one.table.on_air_id, b"x" * 9, recipient=other.table.on_air_id, original_size=40
        )
        with pytest.raises(error):
            other.on_frame(squeezed, 0.0, 1)
