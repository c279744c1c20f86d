"""Acknowledged, ordered messages over a link that loses, repeats, delays and reorders, on a clock of its own."""

import heapq
import itertools
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrelay.transports.arq import ACK, ACK_HEADER, DATA, DATA_HEADER, END, FIN, Arq, ArqSettings, ArqState
from bitrelay.transports.congestion import CongestionWindow, RoundTrip

SETTINGS = ArqSettings()


class Link:
    """Two ends and what is between them. Each datagram takes `delay_s` and up to `jitter_s` more.

    bottleneck: bytes a second that go through towards the second end, and the datagrams that may queue for it.
    """

    def __init__(
        self,
        *,
        settings: ArqSettings = SETTINGS,
        loss: float = 0.0,
        repeat: float = 0.0,
        delay_s: float = 0.02,
        jitter_s: float = 0.0,
        bottleneck: tuple[float, int] | None = None,
        seed: int = 1,
        flows: int = 1,
    ) -> None:
        self.now = 0.0
        self.senders = [Arq(0.0, settings) for _ in range(flows)]
        self.receivers = [Arq(0.0, settings) for _ in range(flows)]
        self.loss = loss
        self.sent = 0
        self.tail_drops = 0
        self._repeat = repeat
        self._delay_s = delay_s
        self._jitter_s = jitter_s
        self._bottleneck = bottleneck
        self._free_at = 0.0
        self._random = random.Random(seed)
        self._order = itertools.count()
        self._on_the_way: list[tuple[float, int, Arq, bytes]] = []

    def run(self, until: Callable[[], bool], limit_s: float = 600.0) -> None:
        """Let time pass until that holds. Fails if it does not within the limit."""
        while not until():
            assert self.now < limit_s, f"not within {limit_s} s"
            self._poll()
            if not until():
                self._advance(limit_s)

    def pass_to(self, time: float) -> None:
        """Let time pass up to then."""
        self._poll()
        while self.now < time:
            self._advance(time)
            self._poll()

    def _poll(self) -> None:
        for source, target in self._pairs():
            for datagram in source.poll(self.now):
                self._send(datagram, target, source in self.senders)

    def _advance(self, limit_s: float) -> None:
        times = [self._on_the_way[0][0]] if self._on_the_way else []
        times += [time for arq in (*self.senders, *self.receivers) if (time := arq.deadline()) is not None]
        self.now = max(self.now, min([*times, limit_s]))
        while self._on_the_way and self._on_the_way[0][0] <= self.now:
            _, _, target, datagram = heapq.heappop(self._on_the_way)
            target.on_datagram(datagram, self.now)

    def _pairs(self) -> list[tuple[Arq, Arq]]:
        both = list(zip(self.senders, self.receivers, strict=True))
        return both + [(receiver, sender) for sender, receiver in both]

    def _send(self, datagram: bytes, target: Arq, narrow: bool) -> None:
        self.sent += 1
        if self._random.random() < self.loss:
            return
        leaves = self.now
        if narrow and self._bottleneck is not None:
            rate, queue = self._bottleneck
            waiting = (self._free_at - self.now) * rate / 1200
            if waiting > queue:
                self.tail_drops += 1
                return
            leaves = self._free_at = max(self._free_at, self.now) + len(datagram) / rate
        for _ in range(2 if self._random.random() < self._repeat else 1):
            arrives = leaves + self._delay_s + self._random.random() * self._jitter_s
            heapq.heappush(self._on_the_way, (arrives, next(self._order), target, datagram))


def carry(link: Link, messages: list[bytes], flow: int = 0) -> list[bytes]:
    """What is received of these messages, when all have been."""
    sender, receiver = link.senders[flow], link.receivers[flow]
    left, got = list(reversed(messages)), []

    def step() -> bool:
        while left and sender.has_room:
            sender.put(left.pop())
        while (message := receiver.receive()) is not None:
            got.append(message)
        return len(got) == len(messages)

    link.run(step)
    return got


MESSAGES = [random.Random(size).randbytes(size) for size in (1, 1180, 1181, 2360, 65_535, *range(1, 400, 7), 30_000)]


@pytest.mark.requirement("TRN-12", "TRN-13")
@pytest.mark.parametrize("loss", [0.0, 0.05, 0.2, 0.4])
@pytest.mark.parametrize("repeat", [0.0, 0.3])
@pytest.mark.parametrize("jitter_s", [0.0, 0.1])
def test_messages_come_whole_and_in_order(loss: float, repeat: float, jitter_s: float) -> None:
    for seed in range(3):
        # Of a link that loses so much, half a minute's silence is not the end.
        settings = ArqSettings(give_up_s=600)
        link = Link(settings=settings, loss=loss, repeat=repeat, jitter_s=jitter_s, seed=seed)
        assert carry(link, MESSAGES) == MESSAGES


@given(st.lists(st.integers(1, 5000), max_size=30), st.floats(0, 0.3), st.integers(0, 1000))
def test_any_messages_over_any_link(sizes: list[int], loss: float, seed: int) -> None:
    said = [random.Random(at).randbytes(size) for at, size in enumerate(sizes)]
    assert carry(Link(loss=loss, repeat=0.1, jitter_s=0.05, seed=seed), said) == said


@pytest.mark.requirement("TRN-12")
def test_numbers_go_on_after_32_bits() -> None:
    link = Link(settings=ArqSettings(first=2**32 - 5), loss=0.1)
    assert carry(link, MESSAGES) == MESSAGES


@pytest.mark.requirement("TRN-12")
def test_what_is_lost_is_sent_again_before_its_time_is_over() -> None:
    link = Link(delay_s=0.02)
    sender = link.senders[0]
    carry(link, [b"to measure the round trip"])
    link.run(lambda: sender.flushed)
    before = link.now
    dropped = []

    def lose_one(datagram: bytes, target: Arq, narrow: bool) -> None:
        if narrow and not dropped and datagram[0] & 0xF0 == DATA:
            dropped.append(datagram)
        else:
            Link._send(link, datagram, target, narrow)

    link._send = lose_one  # type: ignore[method-assign]
    carry(link, [b"%d" % number for number in range(8)])
    assert dropped and sender.sent_again == 1
    assert link.now - before < sender.round_trip.timeout


@pytest.mark.requirement("TRN-12")
def test_the_last_message_is_sent_again_when_its_time_is_over() -> None:
    link = Link()
    sender = link.senders[0]
    carry(link, [b"to measure the round trip"])
    link.run(lambda: sender.flushed)
    sender.put(b"last")
    link.loss = 1.0
    timeout = sender.round_trip.timeout
    began = link.now
    link.run(lambda: sender.sent_again == 1)
    assert link.now == pytest.approx(began + timeout)
    assert sender.round_trip.timeout == 2 * timeout and sender.congestion.size == CongestionWindow.MINIMUM
    link.loss = 0.0
    link.run(lambda: link.receivers[0].receive() == b"last")


def test_timeouts_are_those_of_rfc_6298() -> None:
    trip = RoundTrip(min_s=0.2, max_s=3.0)
    assert trip.timeout == 1.0
    trip.sample(0.4)
    assert (trip.smoothed, trip.variation, trip.timeout) == (0.4, 0.2, pytest.approx(1.2))
    trip.sample(0.8)
    assert trip.variation == pytest.approx(0.75 * 0.2 + 0.25 * 0.4) and trip.smoothed == pytest.approx(0.45)
    assert trip.timeout == pytest.approx(0.45 + 4 * 0.25)
    for expected in (2.9, 3.0, 3.0):
        trip.timed_out()
        assert trip.timeout == pytest.approx(expected)
    trip.answered()
    assert trip.timeout == pytest.approx(1.45)
    for _ in range(100):
        trip.sample(0.0)
    assert trip.timeout == 0.2


@pytest.mark.requirement("TRN-15")
def test_the_window_starts_slowly_grows_and_backs_off() -> None:
    window = CongestionWindow(initial=10, most=100)
    for size in (20, 40, 80, 100):
        window.acknowledged(int(window.size), True)
        assert window.size == size
    window.acknowledged(50, was_full=False)
    window.lost(transmission=5, sent=200)
    assert window.size == 50
    window.lost(transmission=150, sent=210)
    assert window.size == 50, "losses of one round trip count once"
    window.acknowledged(50, True)
    assert window.size == 51
    window.lost(transmission=201, sent=300)
    assert window.size == 25.5
    window.timed_out(sent=300)
    assert (window.size, window.threshold) == (CongestionWindow.MINIMUM, 12.75)


@pytest.mark.requirement("TRN-15")
def test_ten_megabits_into_one_use_most_of_it() -> None:
    # The bottleneck has room for 25 datagrams, a round trip takes 40 ms at least.
    rate = 125_000.0
    link = Link(bottleneck=(rate, 25))
    said = [bytes(10_000)] * 100
    carry(link, said)
    assert link.tail_drops > 0
    assert link.now < 1.4 * sum(map(len, said)) / rate
    assert link.senders[0].sent_again < 0.1 * link.sent


@pytest.mark.requirement("TRN-15")
def test_two_flows_share_a_bottleneck() -> None:
    link = Link(bottleneck=(250_000.0, 30), flows=2)
    got = [0, 0]

    def step() -> bool:
        for flow in range(2):
            while link.senders[flow].has_room:
                link.senders[flow].put(bytes(1180))
            while link.receivers[flow].receive() is not None:
                got[flow] += 1
        return link.now > 60

    link.run(step)
    assert 1 / 3 < got[0] / got[1] < 3


@pytest.mark.requirement("TRN-14")
@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_a_reader_a_hundred_times_slower_than_the_sender(loss: float) -> None:
    # A thousand messages a second are to be sent, ten are read.
    link = Link(loss=loss)
    sender, receiver = link.senders[0], link.receivers[0]
    put, got, most = 0, [], 0
    for tick in range(400):
        link.pass_to(tick / 10)
        while put < tick * 100 and sender.has_room:
            sender.put(b"%d" % put)
            put += 1
        if (message := receiver.receive()) is not None:
            got.append(message)
        most = max(most, receiver._in.unread + len(receiver._in.early))
    assert got == [b"%d" % number for number in range(len(got))] and len(got) > 300
    assert most <= SETTINGS.window
    assert put <= len(got) + SETTINGS.window + 64 + SETTINGS.window
    assert sender.state is receiver.state is ArqState.OPEN


@pytest.mark.requirement("TRN-14")
def test_room_that_was_told_in_vain_is_asked_for() -> None:
    link = Link()
    sender, receiver = link.senders[0], link.receivers[0]
    said = [b"%d" % number for number in range(400)]
    left = list(reversed(said))

    def fill() -> bool:
        while left and sender.has_room:
            sender.put(left.pop())
        return sender.deadline() is not None and sender.flushed is False and not sender._flight

    link.run(fill)
    assert receiver._in.unread == SETTINGS.window
    link.loss = 1.0
    got = [receiver.receive() for _ in range(SETTINGS.window)]
    for datagram in receiver.poll(link.now):
        link._send(datagram, sender, False)
    link.loss = 0.0
    assert got + carry_rest(link, left, len(said) - len(got)) == said


def carry_rest(link: Link, left: list[bytes], count: int) -> list[bytes | None]:
    got: list[bytes | None] = []

    def step() -> bool:
        while left and link.senders[0].has_room:
            link.senders[0].put(left.pop())
        while (message := link.receivers[0].receive()) is not None:
            got.append(message)
        return len(got) == count

    link.run(step)
    return got


def test_who_does_not_answer_is_lost_after_a_while_and_not_before_it_is_asked() -> None:
    link = Link(loss=1.0)
    sender = link.senders[0]
    assert sender.poll(1000.0) == [] and sender.state is ArqState.OPEN
    link.now = 1000.0
    sender.put(b"anybody?")
    link.run(lambda: sender.state is ArqState.LOST, limit_s=1100)
    assert link.now == pytest.approx(1000 + SETTINGS.give_up_s, abs=SETTINGS.max_timeout_s)
    assert sender.deadline() is None and sender.poll(link.now) == []


def test_who_reads_nothing_but_answers_is_not_lost() -> None:
    link = Link()
    sender = link.senders[0]

    def fill() -> bool:
        while sender.has_room:
            sender.put(bytes(1000))
        return link.now > 10 * SETTINGS.give_up_s

    link.run(fill)
    assert sender.state is ArqState.OPEN


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_the_end_comes_after_the_last_message(loss: float) -> None:
    link = Link(loss=loss)
    sender, receiver = link.senders[0], link.receivers[0]
    sender.put(b"last")
    sender.finish()
    sender.finish()
    with pytest.raises(ValueError, match="before the end"):
        sender.put(b"more")
    link.run(lambda: sender.flushed)
    assert receiver.receive() == b"last" and receiver.state is ArqState.ENDED


def data(number: int, flags: int, payload: bytes) -> bytes:
    return DATA_HEADER.pack(DATA | flags, number) + payload


@pytest.mark.parametrize(
    ("sent", "state", "reason"),
    [
        ([data(0, 0, bytes(1180))] * 1 + [data(n, 0, bytes(1180)) for n in range(1, 60)], ArqState.BROKEN, "no room"),
        ([data(0, END, b"")], ArqState.BROKEN, None),
        ([data(0, 0, b"begun"), data(1, FIN, b"")], ArqState.BROKEN, None),
        ([data(0, END, bytes(1181))], ArqState.OPEN, "malformed"),
        ([data(256, END, b"x")], ArqState.OPEN, "no room"),
        ([data(2**31 + 5, END, b"x")], ArqState.OPEN, "repeated"),
        ([data(0, END, b"x")] * 2, ArqState.OPEN, "repeated"),
        ([ACK_HEADER.pack(ACK, 1, 10)], ArqState.OPEN, "malformed"),
        ([b""], ArqState.OPEN, "malformed"),
        ([b"\x99"], ArqState.OPEN, "malformed"),
    ],
)
def test_what_must_not_be_sent(sent: list[bytes], state: ArqState, reason: str | None) -> None:
    arq = Arq(0.0)
    for datagram in sent:
        arq.on_datagram(datagram, 1.0)
        arq.poll(1.0)
    assert arq.state is state
    assert reason is None or arq.dropped[reason] > 0


@given(st.lists(st.binary(max_size=60), max_size=80), st.randoms(use_true_random=False))
def test_no_bytes_raise_and_nothing_grows(junk: list[bytes], source: random.Random) -> None:
    arq = Arq(0.0)
    for _ in range(40):
        arq.put(bytes(100))
    for at, body in enumerate(junk):
        kind = source.choice([b"", b"\x10", b"\x11", b"\x12", b"\x20", b"\x30"])
        arq.on_datagram(kind + (source.randbytes(3) + bytes((source.randrange(60),)) if kind else b"") + body, at * 0.1)
        arq.poll(at * 0.1)
    assert len(arq._in.early) + arq._in.unread <= SETTINGS.window
    assert len(arq._flight) <= 40


def test_settings_that_cannot_work_are_refused() -> None:
    for settings in ({"window": 16, "max_message": 100}, {"max_message": 400_000}, {"window": 300}):
        with pytest.raises(ValueError, match="window"):
            ArqSettings(**settings)
