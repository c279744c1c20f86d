"""The commands that talk to a relay: what they print, how they end, and what ends them."""

import json
import os
import signal
import threading

import pytest

from bitrelay.counters import NAMES
from bitrelay.errors import ExitCode
from shared_protocol import console as messages
from shared_protocol.frame import Header
from tests.host.command import DEADLINE_S, FRAME, ask, finish, run, start
from tests.host.fake_relay import FakeRelay, PtyRelay, Rfc2217Relay, Values

# Question and answer


def test_info(served: PtyRelay | Rfc2217Relay) -> None:
    answer = ask("info", "--port", served.port)
    assert answer["name"] == "relay-1"
    assert answer["address"] == "f0:f1:f2:f3:f4:f5"
    assert answer["unique_id"] == "010203040506"


def test_info_for_people(pty_relay: PtyRelay) -> None:
    text = run("info", "--port", pty_relay.port).stdout
    assert "relay-1" in text
    assert "1 h 6 min" in text


def test_info_of_something_else_is_69(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    relay.answers[messages.INFO] = lambda relay, i, values: relay.send(b"\r\n>>> ")
    done = run("info", "--port", pty_relay.port, "--timeout", "1")
    assert done.returncode == ExitCode.DEVICE_FAILED
    assert f"`mpremote connect {pty_relay.port} reset`" in done.stderr


def test_info_of_a_dead_device_is_75(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    relay.answers[messages.INFO] = lambda relay, i, values: None
    assert run("info", "--port", pty_relay.port, "--timeout", "0.3").returncode == ExitCode.TIMEOUT


def test_stats_names_the_counters(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    counts = list(range(len(NAMES) + 1))
    relay.answers[messages.STATS] = lambda relay, i, values: relay.reply(
        messages.STATS, i, {"uptime_s": 5, "slots_total": 8, "slots_free": 7, "slots_low": 2, "counters": counts}
    )
    answer = ask("stats", "--port", pty_relay.port)
    assert answer["counters"] == dict(zip([*NAMES, f"counter_{len(NAMES)}"], counts, strict=True))
    text = run("stats", "--port", pty_relay.port).stdout
    assert "7 of 8 free, 2 at the lowest" in text
    assert NAMES[0] not in text  # zero
    assert NAMES[1] in text


def test_links(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    def one_link(relay: FakeRelay, request_id: int, values: Values) -> None:
        relay.reply(
            messages.LINKS,
            request_id,
            {"conn": 1, "role": "in", "address": b"\xc0\1\2\3\4\5", "owner": bytes(range(8))},
        )
        bitcraps = {"conn": 2, "role": "in", "address": b"\xf0\1\2\3\4\5", "service": "bitcraps", "mode": "limited"}
        relay.reply(messages.LINKS, request_id, bitcraps)
        relay.say(messages.DONE, request_id, {"count": 2})

    relay.answers[messages.LINKS] = one_link
    assert ask("links", "--port", pty_relay.port) == [
        {"conn": 1, "role": "in", "address": "c0:01:02:03:04:05", "owner": "0001020304050607"},
        {"conn": 2, "role": "in", "address": "f0:01:02:03:04:05", "service": "bitcraps", "mode": "limited"},
    ]
    text = run("links", "--port", pty_relay.port).stdout
    assert "c0:01:02:03:04:05" in text
    assert "bitcraps" in text and "limited" in text
    assert "owner" in text and "0001020304050607" in text


def test_no_links_is_one_line(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    relay.answers[messages.LINKS] = lambda relay, i, values: relay.say(messages.DONE, i, {"count": 0})
    assert ask("links", "--port", pty_relay.port) == []
    assert run("links", "--port", pty_relay.port).stdout == "No link is up.\n"


def test_send_makes_a_public_message(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    relay.answers[messages.SEND] = lambda relay, i, values: relay.reply(messages.SEND, i, {"links": 2})
    answer = ask("send", "--port", pty_relay.port, "--text", "hello", "--sender", "a0289810032eb417")
    frame = relay.requests[-1][2]["frame"]
    header = Header()
    assert header.parse(frame, len(frame)) == len(frame)
    assert (header.version, header.type, header.ttl, header.flags) == (1, 2, 7, 0)
    assert frame[header.payload_at :] == b"hello"
    assert frame[header.sender_at : header.sender_at + 8].hex() == "a0289810032eb417"
    assert answer == {"links": 2, "bytes": len(frame), "frame": frame.hex()}


def test_send_takes_a_frame_as_it_is(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    relay.answers[messages.SEND] = lambda relay, i, values: relay.reply(messages.SEND, i, {"links": 1})
    assert run("send", "--port", pty_relay.port, "--hex", FRAME).stdout == "Sent 25 bytes on 1 link.\n"
    assert relay.requests[-1][2] == {"frame": bytes.fromhex(FRAME)}


def test_send_on_no_link_is_a_failed_check(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    relay.answers[messages.SEND] = lambda relay, i, values: relay.reply(messages.SEND, i, {"links": 0})
    assert run("send", "--port", pty_relay.port, "--hex", FRAME).returncode == ExitCode.CHECK_FAILED


def test_a_refusal_is_told_and_69(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    relay.answers[messages.SEND] = lambda relay, i, values: relay.say(
        messages.ERROR, i, {"code": "e", "text": "no\x1b[2J"}
    )
    done = run("send", "--port", pty_relay.port, "--hex", FRAME)
    assert done.returncode == ExitCode.DEVICE_FAILED
    assert "no\\x1b[2J" in done.stderr


# Streams


def send_frames(relay: FakeRelay, request_id: int, values: Values) -> None:
    relay.reply(messages.LISTEN, request_id, values)
    if values["on"]:
        for at_ms in range(3):
            relay.say(
                messages.EVENT_FRAME,
                0,
                {"conn": 1, "frame": bytes.fromhex(FRAME), "verdict": "forward", "at_ms": at_ms},
            )


def test_listen_prints_a_json_line_per_frame_and_stops(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    relay.answers[messages.LISTEN] = send_frames
    done = run("listen", "--port", pty_relay.port, "--json", "--count", "2")
    assert done.returncode == 0
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["at_ms"] for event in events] == [0, 1]
    assert events[0]["frame"] == FRAME
    assert events[0]["decoded"]["sender"] == "1011121314151617"
    assert [values for kind, _, values in relay.requests if kind == messages.LISTEN] == [{"on": True}, {"on": False}]


def test_listen_ends_after_its_seconds(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    relay.answers[messages.LISTEN] = send_frames
    done = run("listen", "--port", pty_relay.port, "--seconds", "1")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 3


def test_listen_goes_on_after_a_restart(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    def restart_once(relay: FakeRelay, request_id: int, values: Values) -> None:
        send_frames(relay, request_id, values)
        if sum(kind == messages.LISTEN for kind, _, _ in relay.requests) == 1:
            relay.say(messages.EVENT_HELLO, 0, {"name": "relay-1", "reset_cause": "watchdog"})

    relay.answers[messages.LISTEN] = restart_once
    done = run("listen", "--port", pty_relay.port, "--json", "--count", "6")
    assert len(done.stdout.splitlines()) == 6


def test_listen_shows_junk_as_junk(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    def junk(relay: FakeRelay, request_id: int, values: Values) -> None:
        relay.reply(messages.LISTEN, request_id, values)
        relay.say(
            messages.EVENT_LINK, 0, {"conn": 1, "up": False, "role": "in", "address": b"\1" * 6, "reason": "0x08"}
        )
        relay.say(messages.EVENT_FRAME, 0, {"conn": 1, "frame": b"\x09", "verdict": "\x1b[31m", "at_ms": 1})

    relay.answers[messages.LISTEN] = junk
    done = run("listen", "--port", pty_relay.port, "--count", "1")
    assert done.returncode == 0
    assert "not a frame" in done.stdout
    assert "\x1b" not in done.stdout


def test_log_shows_lines_with_their_level(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    def speak(relay: FakeRelay, request_id: int, values: Values) -> None:
        relay.reply(messages.LOG, request_id, values)
        relay.say(messages.EVENT_LOG, 0, {"level": 2, "text": "link lost", "at_ms": 1500})

    def setting(relay: FakeRelay, request_id: int, values: Values) -> None:
        relay.reply(messages.GET, request_id, values | {"value": "2"})
        relay.say(messages.DONE, request_id, {"count": 1})

    relay.answers[messages.LOG] = speak
    relay.answers[messages.GET] = setting
    done = run("log", "--port", pty_relay.port, "--level", "debug", "--count", "1")
    assert done.stdout.split() == ["1.500", "warning", "link", "lost"]
    assert relay.requests[1][2] == {"level": messages.LOG_DEBUG}
    assert relay.requests[-1][2] == {"level": messages.LOG_WARNING}  # as its settings say


def test_ctrl_c_ends_listen_with_130_and_no_noise(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    relay.answers[messages.LISTEN] = send_frames
    process = start("listen", "--port", pty_relay.port)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = finish(process)
    assert process.returncode == ExitCode.INTERRUPTED
    assert err == ""


def test_ctrl_c_ends_a_wait_for_an_answer(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    asked = threading.Event()
    relay.answers[messages.INFO] = lambda relay, i, values: asked.set()
    process = start("info", "--port", pty_relay.port, "--timeout", "60")
    assert asked.wait(DEADLINE_S)
    process.send_signal(signal.SIGINT)
    _, err = finish(process)
    assert process.returncode == ExitCode.INTERRUPTED
    assert err == ""


def test_a_closed_pipe_ends_listen_quietly(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    more = threading.Event()

    def endless(relay: FakeRelay, request_id: int, values: Values) -> None:
        send_frames(relay, request_id, values)
        if values["on"]:
            assert more.wait(DEADLINE_S)
            send_frames(relay, request_id, values)

    relay.answers[messages.LISTEN] = endless
    process = start("listen", "--port", pty_relay.port)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    more.set()
    assert process.wait(DEADLINE_S) == ExitCode.OUTPUT_CLOSED
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.parametrize(("command", "said"), [("listen", "listening on relay-1"), ("log", "the log of relay-1")])
def test_a_terminal_is_told_what_is_waited_for(relay: FakeRelay, pty_relay: PtyRelay, command: str, said: str) -> None:
    relay.answers[messages.LISTEN] = lambda relay, i, values: relay.reply(messages.LISTEN, i, values)
    relay.answers[messages.LOG] = lambda relay, i, values: relay.reply(messages.LOG, i, values)
    ours, theirs = os.openpty()
    process = start(command, "--port", pty_relay.port, stderr=theirs)
    os.close(theirs)
    with open(ours, "rb", buffering=0) as terminal:
        line = terminal.readline()
        process.send_signal(signal.SIGINT)
        finish(process)
    assert line.decode().strip() == f"bitrelay: {said}; Ctrl-C ends it"
    assert process.returncode == ExitCode.INTERRUPTED


@pytest.mark.parametrize(("number", "code"), [(signal.SIGHUP, ExitCode.HUNG_UP), (signal.SIGTERM, ExitCode.TERMINATED)])
def test_a_signal_ends_listen_with_what_a_shell_shows_for_it(
    relay: FakeRelay, pty_relay: PtyRelay, number: signal.Signals, code: ExitCode
) -> None:
    relay.answers[messages.LISTEN] = send_frames
    process = start("listen", "--port", pty_relay.port, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    finish(process)
    assert 128 - process.returncode == code


def test_a_device_that_vanishes_ends_listen_with_84(relay: FakeRelay, pty_relay: PtyRelay) -> None:
    def vanish(relay: FakeRelay, request_id: int, values: Values) -> None:
        send_frames(relay, request_id, values)
        pty_relay.vanish()

    relay.answers[messages.LISTEN] = vanish
    done = run("listen", "--port", pty_relay.port)
    assert done.returncode == ExitCode.DEVICE_LOST
    assert "the device has gone. Its lab has ended" in done.stderr
