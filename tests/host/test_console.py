"""The console's client against a relay that misbehaves in the ways relays do."""

import asyncio
import os
import time
from typing import Any

import pytest

from bitrelay.console import EVENTS_KEPT, Console, Event
from bitrelay.errors import (
    DeviceError,
    DeviceLost,
    DeviceTimeout,
    NoDevice,
    NotARelay,
    PortError,
    RequestRefused,
)
from bitrelay.lab.rfc2217 import ModemLines, Rfc2217Server
from bitrelay.serial_link import SerialLink
from shared_protocol import cobs
from shared_protocol import console as messages
from tests.host.fake_relay import INFO, FakeRelay, PtyRelay, Rfc2217Relay, Values

Served = PtyRelay | Rfc2217Relay


async def take(console: Console, count: int) -> list[Event]:
    """The next events, or whatever came within 5 s."""
    events: list[Event] = []
    async with asyncio.timeout(5):
        async for event in console.events():
            events.append(event)
            if len(events) == count:
                return events
    return events


async def test_open_reads_the_relays_info(served: Served) -> None:
    async with await Console.open(served.port) as console:
        assert console.info == INFO


async def test_boot_noise_before_and_between_frames_is_skipped(relay: FakeRelay, served: Served) -> None:
    noise = b"ets Jul 29 2019 12:21:46\r\n\x00rst:0x1 (POWERON_RESET)\r\n\xff\xfe\x00garbage"

    def noisy(relay: FakeRelay, request_id: int, values: Values) -> None:
        relay.send(noise)
        relay.reply(messages.INFO, request_id, INFO)
        relay.send(noise)

    relay.answers[messages.INFO] = noisy
    async with await Console.open(served.port) as console:
        relay.answers[messages.TIME] = lambda relay, i, values: relay.reply(messages.TIME, i, values)
        assert await console.request(messages.TIME, {"time_ms": 5}) == {"time_ms": 5}


async def test_a_relay_that_boots_late_is_waited_for(relay: FakeRelay, served: Served) -> None:
    def deaf_at_first(relay: FakeRelay, request_id: int, values: Values) -> None:
        if len(relay.requests) >= 3:
            relay.reply(messages.INFO, request_id, INFO)

    relay.answers[messages.INFO] = deaf_at_first
    async with await Console.open(served.port) as console:
        assert console.info["name"] == "relay-1"


async def test_the_answer_to_an_early_knock_counts(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    def answers_the_first(relay: FakeRelay, request_id: int, values: Values) -> None:
        if len(relay.requests) == 3:
            relay.reply(messages.INFO, relay.requests[0][1], INFO)

    relay.answers[messages.INFO] = answers_the_first
    async with await Console.open(pty_relay.port) as console:
        assert console.info["name"] == "relay-1"


async def test_answers_with_wrong_ids_and_kinds_are_dropped(relay: FakeRelay, served: Served) -> None:
    def confused(relay: FakeRelay, request_id: int, values: Values) -> None:
        relay.reply(messages.TIME, request_id ^ 0x5555, {"time_ms": 1})
        relay.reply(messages.STATS, request_id, {"uptime_s": 2})
        relay.reply(messages.TIME, request_id, {"time_ms": 3})

    relay.answers[messages.TIME] = confused
    async with await Console.open(served.port) as console:
        strays = console.strays
        assert await console.request(messages.TIME, {"time_ms": 0}) == {"time_ms": 3}
        assert console.strays == strays + 2


async def test_a_late_answer_is_not_taken_for_the_next_one(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    late: list[int] = []

    def answer(relay: FakeRelay, request_id: int, values: Values) -> None:
        if not late:
            late.append(request_id)
            return
        relay.reply(messages.TIME, late[0], {"time_ms": 1})
        relay.reply(messages.TIME, request_id, {"time_ms": 2})

    relay.answers[messages.TIME] = answer
    async with await Console.open(pty_relay.port) as console:
        with pytest.raises(DeviceTimeout):
            await console.request(messages.TIME, {"time_ms": 0}, timeout_s=0.1)
        assert await console.request(messages.TIME, {"time_ms": 0}) == {"time_ms": 2}


async def test_requests_at_once_each_get_their_own_answer(relay: FakeRelay, served: Served) -> None:
    waiting: list[tuple[int, Values]] = []

    def answer_backwards(relay: FakeRelay, request_id: int, values: Values) -> None:
        waiting.append((request_id, values))
        if len(waiting) == 3:
            for each, asked in reversed(waiting):
                relay.reply(messages.TIME, each, asked)

    relay.answers[messages.TIME] = answer_backwards
    async with await Console.open(served.port) as console:
        answers = await asyncio.gather(*[console.request(messages.TIME, {"time_ms": i}) for i in range(3)])
        assert answers == [{"time_ms": 0}, {"time_ms": 1}, {"time_ms": 2}]


async def test_a_list_is_all_records_until_done(relay: FakeRelay, served: Served) -> None:
    def two_links(relay: FakeRelay, request_id: int, values: Values) -> None:
        relay.reply(messages.LINKS, request_id, {"conn": 1, "rssi": -60})
        relay.say(messages.EVENT_LOG, 0, {"level": 3, "text": "in between", "at_ms": 1})
        relay.reply(messages.LINKS, request_id, {"conn": 2, "rssi": -90})
        relay.say(messages.DONE, request_id, {"count": 2})

    relay.answers[messages.LINKS] = two_links
    async with await Console.open(served.port) as console:
        records = await console.request_list(messages.LINKS)
        assert records == [{"conn": 1, "rssi": -60}, {"conn": 2, "rssi": -90}]


async def test_a_list_with_a_record_lost_is_an_error(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    def one_of_two(relay: FakeRelay, request_id: int, values: Values) -> None:
        relay.reply(messages.LINKS, request_id, {"conn": 1})
        relay.say(messages.DONE, request_id, {"count": 2})

    relay.answers[messages.LINKS] = one_of_two
    async with await Console.open(pty_relay.port) as console:
        with pytest.raises(DeviceError, match="1 of 2 records"):
            await console.request_list(messages.LINKS)


async def test_an_error_answer_carries_the_relays_code(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    relay.answers[messages.SEND] = lambda relay, i, values: relay.say(
        messages.ERROR, i, {"code": "malformed", "text": "not a frame"}
    )
    async with await Console.open(pty_relay.port) as console:
        with pytest.raises(RequestRefused, match="not a frame") as refused:
            await console.request(messages.SEND, {"frame": b"x"})
        assert refused.value.code == "malformed"
        assert refused.value.device == pty_relay.port


async def test_events_come_in_order_between_answers(relay: FakeRelay, served: Served) -> None:
    def answer_among_events(relay: FakeRelay, request_id: int, values: Values) -> None:
        relay.say(messages.EVENT_LOG, 0, {"level": 3, "text": "before", "at_ms": 1})
        relay.reply(messages.LISTEN, request_id, {"on": True})
        relay.say(messages.EVENT_FRAME, 0, {"conn": 1, "frame": b"\0\1\2", "verdict": "forward", "at_ms": 2})

    relay.answers[messages.LISTEN] = answer_among_events
    async with await Console.open(served.port) as console:
        assert await console.request(messages.LISTEN, {"on": True}) == {"on": True}
        events = await take(console, 2)
        assert [event.kind for event in events] == [messages.EVENT_LOG, messages.EVENT_FRAME]
        assert events[1].values["frame"] == b"\0\1\2"


async def test_events_nobody_takes_are_bounded_and_counted(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    def flood(relay: FakeRelay, request_id: int, values: Values) -> None:
        for at_ms in range(EVENTS_KEPT + 10):
            relay.say(messages.EVENT_LOG, 0, {"level": 4, "text": "x", "at_ms": at_ms})
        relay.reply(messages.LOG, request_id, values)

    relay.answers[messages.LOG] = flood
    async with await Console.open(pty_relay.port) as console:
        await console.request(messages.LOG, {"level": 4}, timeout_s=5)
        assert console.events_dropped == 10
        assert (await take(console, 1))[0].values["at_ms"] == 10


async def test_a_device_that_vanishes_ends_the_request_at_once(relay: FakeRelay, served: Served) -> None:
    relay.answers[messages.STATS] = lambda relay, i, values: served.vanish()
    started = time.monotonic()
    async with await Console.open(served.port) as console:
        with pytest.raises(DeviceLost) as lost:
            await console.request(messages.STATS, timeout_s=10)
        assert lost.value.device == served.port
        assert lost.value.what == "the device has gone"
        assert str(lost.value.hint).startswith("Its lab has ended")
        with pytest.raises(DeviceLost):
            await console.request(messages.STATS)
        with pytest.raises(DeviceLost):
            await take(console, 1)
    assert time.monotonic() - started < 10 + 2


async def test_a_device_that_freezes_costs_the_timeout_and_2_s_at_most(relay: FakeRelay, served: Served) -> None:
    relay.answers[messages.STATS] = lambda relay, i, values: None
    async with await Console.open(served.port) as console:
        started = time.monotonic()
        with pytest.raises(DeviceTimeout, match="no answer within 0.2 s"):
            await console.request(messages.STATS, timeout_s=0.2)
        assert time.monotonic() - started < 0.2 + 2


async def test_a_device_that_takes_no_bytes_does_not_hold_up_the_end() -> None:
    master, slave = os.openpty()
    try:
        started = time.monotonic()
        with pytest.raises(DeviceTimeout):
            await Console.open(os.ttyname(slave), timeout_s=0.5)
        assert time.monotonic() - started < 0.5 + 2
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize(
    ("says", "expected"),
    [(b"\r\n>>> ", "MicroPython's prompt"), (b"login: ", "something else than a relay"), (b"\0\7\0", "something else")],
)
async def test_what_answers_and_is_no_relay_is_told(
    relay: FakeRelay, pty_relay: PtyRelay, says: bytes, expected: str
) -> None:
    relay.answers[messages.INFO] = lambda relay, i, values: relay.send(says)
    with pytest.raises(NotARelay, match=expected):
        await Console.open(pty_relay.port, timeout_s=1)


async def test_a_prompt_is_known_however_much_is_echoed_after_it(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    relay.answers[messages.INFO] = lambda relay, i, values: relay.send(
        b"#\x08" * 200 if len(relay.requests) > 1 else b"\r\n>>> #"
    )
    with pytest.raises(NotARelay, match="MicroPython's prompt"):
        await Console.open(pty_relay.port, timeout_s=1)


async def test_a_relay_of_another_protocol_is_refused(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    relay.answers[messages.INFO] = lambda relay, i, values: relay.reply(messages.INFO, i, INFO | {"protocol": 99})
    with pytest.raises(DeviceError, match="protocol 99"):
        await Console.open(pty_relay.port)


async def test_a_knock_does_no_harm_at_a_prompt(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    """Ctrl-K and Ctrl-U empty the line, Ctrl-B shows the prompt; it and its like act on an empty line only, and a line
    that is a comment runs nothing."""
    async with await Console.open(pty_relay.port):
        assert relay.received.startswith(b"\x0b\x15\2#\0\0")


@pytest.mark.parametrize("first_id", [1, 3, 8, 0x2F, 0xFF])
async def test_a_knock_has_no_key_that_acts_on_a_board(
    relay: FakeRelay, pty_relay: PtyRelay, monkeypatch: pytest.MonkeyPatch, first_id: int
) -> None:
    """Until our code runs, MicroPython takes 0x03 for Ctrl-C wherever it is; at its prompt, CR or LF would end the
    comment line, and backspaces would empty it, so that Ctrl-A or Ctrl-D in what follows act."""
    monkeypatch.setattr("bitrelay.console.random.randrange", lambda start, stop: max(start, first_id))
    relay.answers[messages.INFO] = lambda relay, i, values: (
        len(relay.requests) >= 3 and relay.reply(messages.INFO, i, INFO)
    )
    async with await Console.open(pty_relay.port):
        behind_prefixes = bytes(relay.received).replace(b"\x0b\x15\2#", b"")
        keys = {byte for byte in behind_prefixes if byte < 0x20 or byte == 0x7F}
        assert keys <= set(b"\0\1\2\6")


async def test_knocks_and_requests_do_not_share_ids(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    relay.answers[messages.TIME] = lambda relay, i, values: relay.reply(messages.TIME, i, values)
    async with await Console.open(pty_relay.port) as console:
        console._next_id = 0xFFFE
        for _ in range(4):
            await console.request(messages.TIME, {"time_ms": 5})
    ids = {kind: [i for asked, i, _ in relay.requests if asked == kind] for kind in (messages.INFO, messages.TIME)}
    assert all(1 <= i < 0x100 for i in ids[messages.INFO])
    assert ids[messages.TIME] == [0xFFFE, 0xFFFF, 0x100, 0x101]


async def test_a_knock_ends_a_frame_that_noise_has_opened(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    relay.take(b"\0\x55")
    async with await Console.open(pty_relay.port) as console:
        assert console.info == INFO
        assert len(relay.requests) == 1


async def test_opening_never_resets_the_board(rfc2217_relay: Rfc2217Relay) -> None:
    """EN is pulled low while RTS is on and DTR is not (the two transistors of every development board)."""
    async with await Console.open(rfc2217_relay.port):
        assert rfc2217_relay.lines[-1] == (True, True)
    assert (False, True) not in rfc2217_relay.lines


@pytest.mark.parametrize(
    ("port", "error"),
    [
        ("/dev/no-such-port", NoDevice),
        ("rfc2217://127.0.0.1:1", NoDevice),
        ("rfc2217://", PortError),
        ("socket://127.0.0.1:1", NoDevice),
        ("/dev/null", PortError),
    ],
)
async def test_a_port_that_cannot_be_opened_says_why(port: str, error: type[Exception]) -> None:
    with pytest.raises(error) as failure:
        await Console.open(port, timeout_s=5)
    assert getattr(failure.value, "device", None) == port


async def test_a_port_in_use_is_busy(pty_relay: PtyRelay) -> None:
    async with await Console.open(pty_relay.port):
        with pytest.raises(PortError, match="another program has it open"):
            await Console.open(pty_relay.port)


async def test_an_rfc2217_port_in_use_is_busy() -> None:
    server = Rfc2217Server(ModemLines(lambda: None, lambda boot: None), lambda data: None)
    port = await server.open()
    link = await SerialLink.open(port, lambda data: None, lambda reason: None, 5)
    try:
        with pytest.raises(PortError, match="another program has it open"):
            await Console.open(port)
    finally:
        await link.close()
        server.close()


@pytest.mark.parametrize(
    ("port", "words"),
    [
        ("rfc2217://foo", "number is missing"),
        ("rfc2217://foo:port", "number is missing"),
        ("rfc2217://foo:99999", "number is missing"),
        ("/dev/null", "not a serial port"),
        ("/dev", "not a serial port"),
    ],
)
async def test_what_is_no_port_is_told_in_plain_words(port: str, words: str) -> None:
    with pytest.raises(PortError, match=words):
        await Console.open(port)


async def test_values_that_do_not_fit_are_refused_before_they_are_sent(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    async with await Console.open(pty_relay.port) as console:
        with pytest.raises(ValueError):
            await console.request(messages.SEND, {"frame": bytes(2000)})
        assert [kind for kind, _, _ in relay.requests] == [messages.INFO]


async def test_hostile_bytes_break_nothing(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    def babble(relay: FakeRelay, request_id: int, values: Values) -> None:
        for body in (b"", b"\x83", b"\xff\xff\xff\xff\xff\xff", bytes(1024), b"\x42\0\0\2\xff\xff"):
            relay.send(cobs.wrap(body))
        relay.send(bytes(range(256)) * 20)
        relay.reply(messages.TIME, request_id, {"time_ms": 1})

    relay.answers[messages.TIME] = babble
    async with await Console.open(pty_relay.port) as console:
        relay_lost: Any = await console.request(messages.TIME, {"time_ms": 0})
        assert relay_lost == {"time_ms": 1}
