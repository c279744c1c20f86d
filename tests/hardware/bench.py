"""The board under test, and how a user would talk to it."""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

DEADLINE_S = 150


@dataclass(frozen=True)
class Bench:
    """The board under test. firmware is an image to flash where none can be downloaded, None for the pinned one."""

    port: str
    firmware: str | None

    def flash_args(self) -> list[str]:
        return ["flash", "--port", self.port, *(["--firmware", self.firmware] if self.firmware else [])]


def bitrelay(*args: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line as a user does."""
    command = [sys.executable, "-m", "bitrelay", *args]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE_S)


def asked(*args: str) -> Any:
    """What a command that must succeed prints with --json."""
    done = bitrelay(*args, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


class running:
    """A command that goes on until it is interrupted."""

    def __init__(self, *args: str) -> None:
        self._args = args

    def __enter__(self) -> "subprocess.Popen[str]":
        # A shell lets its background jobs ignore SIGINT, and this may run in one.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bitrelay", *self._args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise
