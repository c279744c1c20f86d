"""`bitrelay` in a process of its own, and what becomes of it and of the processes it starts."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

DEADLINE_S = 40.0


class Command:
    """`bitrelay ARGUMENTS` in directories of its own."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.temporary = directory
        environment = {**os.environ, "TMPDIR": str(directory), "XDG_RUNTIME_DIR": str(directory)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bitrelay", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            # A shell lets its background jobs ignore SIGINT, and these tests may be one.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def read_until(self, text: str) -> str:
        """What it prints up to the line that matches; its own deadline ends it if the line never comes."""
        assert self.process.stdout
        seen = ""
        for line in self.process.stdout:
            seen += line
            if re.search(text, line):
                return seen
        raise AssertionError(f"ended without {text!r}: {seen}{self.end()[1]}")

    def boards(self) -> list[int]:
        """The processes of its boards."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def end(self, how: signal.Signals | None = None) -> tuple[str, str]:
        """Send a signal, if any, and return what is still printed."""
        if how:
            self.process.send_signal(how)
        try:
            return self.process.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise

    def left_behind(self) -> list[str]:
        return sorted(path.name for path in self.temporary.iterdir())


def are_gone(pids: list[int]) -> bool:
    end = time.monotonic() + DEADLINE_S
    while any(is_alive(pid) for pid in pids):
        if time.monotonic() > end:
            return False
        os.sched_yield()
    return True


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
