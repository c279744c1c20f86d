"""mpremote works on a relay that runs, and the relay goes on."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from bench import DEADLINE_S, Bench, asked


def mpremote(bench: Bench, *args: str) -> str:
    command = [sys.executable, "-m", "bitrelay.serial_handlers", "mpremote", "connect", bench.port, *args]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_mpremote_runs_code_and_copies_files_and_the_relay_goes_on(
    relay: dict[str, Any], bench: Bench, tmp_path: Path
) -> None:
    before = asked("info", "--port", bench.port)
    assert mpremote(bench, "exec", "print(6 * 7)").strip() == "42"
    note = tmp_path / "note.txt"
    note.write_bytes(bytes(range(256)) * 8)
    mpremote(bench, "fs", "cp", str(note), ":note.txt")
    mpremote(bench, "fs", "cp", ":note.txt", str(tmp_path / "back.txt"))
    assert (tmp_path / "back.txt").read_bytes() == note.read_bytes()
    mpremote(bench, "fs", "rm", ":note.txt")
    after = asked("info", "--port", bench.port, "--timeout", "20")
    assert after["unique_id"] == relay["identity"] and after["reset_cause"] == before["reset_cause"]


def test_mpremote_reset_starts_the_board_anew(relay: dict[str, Any], bench: Bench) -> None:
    mpremote(bench, "reset")
    assert asked("info", "--port", bench.port, "--timeout", "20")["reset_cause"] == "hard reset"
