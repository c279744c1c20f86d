"""`bitrelay repl`: the relay's program stops for it, runs again after it, and the port is let go of in every case."""

import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from bitrelay.errors import DeviceError, DeviceLost, DeviceTimeout, ExitCode
from bitrelay.relay_prompt import bring_back, get_prompt
from tests.host.command import DEADLINE_S, run
from tests.host.fake_relay import PromptRelay, PtyRelay

LEAVE = b"\x1d"


@pytest.fixture
def relay() -> PromptRelay:
    return PromptRelay()


class Person:
    """Somebody at a terminal on which a command runs."""

    def __init__(self, *args: str) -> None:
        self._ours, theirs = pty.openpty()
        self._theirs = os.dup(theirs)
        self.shown = b""
        self.left_raw = False
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bitrelay", *args],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
        )  # fmt: skip
        os.close(theirs)
        self._watchdog = threading.Timer(DEADLINE_S, self.process.kill)
        self._watchdog.start()

    def sees(self, expected: bytes) -> None:
        """Read until this is shown."""
        while expected not in self.shown:
            assert self.process.poll() is None, self.shown
            self.shown += os.read(self._ours, 1024)
        self.shown = self.shown.partition(expected)[2]

    def sees_prompt(self) -> None:
        """Have mpremote's terminal up, from which on keys go to the board and not to the terminal's own line."""
        self.sees(b"to exit this shell")
        self.types(b"\r")
        self.sees(b">>> ")

    def types(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._ours, keys)

    def mode(self) -> list[Any]:
        """The terminal's attributes: in a raw one, lines are not read as a whole (ICANON)."""
        return termios.tcgetattr(self._theirs)

    def leaves(self) -> int:
        """Wait for the command's end; its exit code."""
        reader = threading.Thread(target=self._read_all)
        reader.start()
        code = self.process.wait(DEADLINE_S)
        self.left_raw = not self.mode()[3] & termios.ICANON
        os.close(self._theirs)
        reader.join(5)
        return code

    def close(self) -> None:
        """End it if it has not ended."""
        self._watchdog.cancel()
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def _read_all(self) -> None:
        try:
            while data := os.read(self._ours, 1024):
                self.shown += data
        except OSError:
            pass  # EIO: the last end was closed


@pytest.fixture
def person(pty_relay: PtyRelay) -> Iterator[Person]:
    person = Person("repl", "--port", pty_relay.port)
    yield person
    person.close()


def port_is_free(port: str) -> bool:
    """Whether nobody has it open: exclusive ports take one."""
    import serial

    try:
        serial.Serial(port, exclusive=True).close()
    except serial.SerialException:
        return False
    return True


# At the terminal


def test_the_prompt_comes_and_the_relay_runs_again_after_it(
    relay: PromptRelay, pty_relay: PtyRelay, person: Person
) -> None:
    person.sees(b"the relay's program is stopped; Ctrl-] starts it again")
    person.sees_prompt()
    person.types(b"1 + 1")
    person.sees(b"1 + 1")
    assert not relay.runs
    person.types(LEAVE)
    assert person.leaves() == 0, person.shown
    assert b"the relay runs again" in person.shown
    assert (relay.runs, relay.starts) == (True, 1)
    assert port_is_free(pty_relay.port)
    assert not person.left_raw


def test_ctrl_c_belongs_to_the_board(relay: PromptRelay, pty_relay: PtyRelay, person: Person) -> None:
    person.sees_prompt()
    person.types(b"x\x03")
    person.sees(b"x\r\n>>> ")
    person.types(LEAVE)
    assert person.leaves() == 0


def test_who_starts_the_relay_by_hand_does_not_have_it_started_twice(
    relay: PromptRelay, pty_relay: PtyRelay, person: Person
) -> None:
    person.sees_prompt()
    person.types(b"\x04")
    person.sees(b"soft reboot")
    person.types(LEAVE)
    assert person.leaves() == 0
    assert (relay.runs, relay.starts) == (True, 1)


def test_with_stay_the_relay_stays_stopped(relay: PromptRelay, pty_relay: PtyRelay) -> None:
    person = Person("repl", "--stay", "--port", pty_relay.port)
    person.sees(b"Ctrl-] leaves it stopped")
    person.sees_prompt()
    person.types(LEAVE)
    assert person.leaves() == 0
    assert b"stays stopped" in person.shown
    assert not relay.runs
    person.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, ExitCode.TERMINATED), (signal.SIGHUP, ExitCode.HUNG_UP)])
def test_whatever_ends_it_the_relay_runs_again_and_the_terminal_is_as_before(
    relay: PromptRelay, pty_relay: PtyRelay, person: Person, number: signal.Signals, code: ExitCode
) -> None:
    person.sees(b"the relay's program is stopped")
    person.sees_prompt()
    assert not person.mode()[3] & termios.ICANON
    person.process.send_signal(number)
    assert person.leaves() == code, person.shown
    assert not person.left_raw
    assert relay.runs
    assert port_is_free(pty_relay.port)


def test_who_gives_up_waiting_for_the_prompt_leaves_no_stopped_relay(relay: PromptRelay, pty_relay: PtyRelay) -> None:
    reader, writer = os.pipe()
    send = relay.send

    def only_tell(data: bytes) -> None:
        if data.endswith(b">>> "):
            os.write(writer, b"x")

    def give_when_asked(data: bytes) -> None:
        # It asks for the prompt again and again, and would be given it before a late signal comes. Whoever brings the
        # relay back knocks first.
        if not relay.runs and b"#" in data:
            relay.send = send
        take(data)

    take = relay.take
    relay.send, relay.take = only_tell, give_when_asked  # type: ignore[method-assign]
    person = Person("repl", "--port", pty_relay.port)
    os.read(reader, 1)
    assert not relay.runs
    person.process.send_signal(signal.SIGINT)
    assert person.leaves() == ExitCode.INTERRUPTED, person.shown
    assert relay.runs
    person.close()
    os.close(reader)
    os.close(writer)


def test_without_a_terminal_the_relay_is_not_stopped(relay: PromptRelay, pty_relay: PtyRelay) -> None:
    done = run("repl", "--port", pty_relay.port)
    assert done.returncode == ExitCode.USAGE
    assert "mpremote" in done.stderr
    assert relay.runs
    assert relay.received == b""


def test_a_port_that_goes_away_ends_it_with_a_line(relay: PromptRelay, pty_relay: PtyRelay, person: Person) -> None:
    person.sees_prompt()
    pty_relay.vanish()
    assert person.leaves() != 0
    assert b"Traceback" not in person.shown
    assert b"no such port" in person.shown


# Prompt and back


async def test_a_board_that_is_at_the_prompt_already_gives_it_again(relay: PromptRelay, pty_relay: PtyRelay) -> None:
    await get_prompt(pty_relay.port)
    await get_prompt(pty_relay.port)
    assert not relay.runs


async def test_a_relay_that_runs_is_left_alone(relay: PromptRelay, pty_relay: PtyRelay) -> None:
    assert await bring_back(pty_relay.port) is False
    assert relay.starts == 0


async def test_what_was_typed_last_is_not_run(relay: PromptRelay, pty_relay: PtyRelay) -> None:
    await get_prompt(pty_relay.port)
    relay.received.clear()
    relay.typed += b"os.remove('/main.py')"
    assert await bring_back(pty_relay.port) is True
    assert relay.runs
    assert b"\r" not in relay.received.partition(b"\x04")[0]


async def test_a_board_without_a_prompt_is_told(relay: PromptRelay, pty_relay: PtyRelay) -> None:
    relay.take = lambda data: None  # type: ignore[method-assign]
    with pytest.raises(DeviceTimeout, match="no prompt within 0.3 s"):
        await get_prompt(pty_relay.port, 0.3)


async def test_a_board_that_vanishes_is_told(relay: PromptRelay, pty_relay: PtyRelay) -> None:
    relay.take = lambda data: pty_relay.vanish()  # type: ignore[method-assign]
    with pytest.raises(DeviceLost):
        await get_prompt(pty_relay.port)


async def test_a_program_that_does_not_start_is_told(relay: PromptRelay, pty_relay: PtyRelay) -> None:
    await get_prompt(pty_relay.port)
    keys = relay.take

    def never(data: bytes) -> None:
        keys(data)
        relay.runs = False

    relay.take = never  # type: ignore[method-assign]
    with pytest.raises(DeviceError, match="does not start again"):
        await bring_back(pty_relay.port, 0.5)
