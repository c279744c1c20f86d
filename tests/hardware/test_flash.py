"""A blank board becomes a relay, stays itself when it is updated, and survives a cable that is pulled."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench import DEADLINE_S, Bench, asked, bitrelay

from bitrelay.errors import ExitCode


def test_a_board_becomes_a_relay_and_says_so_itself(relay: dict[str, Any], bench: Bench) -> None:
    assert relay["verified"] and relay["port"] == bench.port
    info = asked("info", "--port", bench.port)
    assert info["version"] == relay["version"] and info["unique_id"] == relay["identity"]
    assert info["name"] == "bench" and info["build"] == relay["build"]


def test_an_update_keeps_settings_and_identity(relay: dict[str, Any], bench: Bench) -> None:
    asked("config", "set", "frame_slots", "18", "--port", bench.port, "--confirm")
    again = asked(*bench.flash_args())
    assert again["verified"] and again["identity"] == relay["identity"]
    assert asked("info", "--port", bench.port)["name"] == "bench"
    assert asked("config", "get", "frame_slots", "--port", bench.port)["value"] == 18


def test_a_flash_that_was_cut_short_costs_nothing_but_a_second_one(relay: dict[str, Any], bench: Bench) -> None:
    asked("config", "set", "name", "before the cut", "--port", bench.port)
    for stage in ("writing", "comparing"):
        _cut_short(bench, stage)
    again = asked(*bench.flash_args())
    assert again["verified"] and again["identity"] == relay["identity"]
    assert asked("info", "--port", bench.port)["name"] == "before the cut"
    asked("config", "set", "name", "bench", "--port", bench.port)


def test_an_image_for_another_chip_is_refused_and_the_relay_goes_on(
    relay: dict[str, Any], bench: Bench, tmp_path: Path
) -> None:
    other = tmp_path / "other.bin"
    other.write_bytes(bytes.fromhex("e9000220000008400000000002000000000000000000000000") + bytes(60_000))
    done = bitrelay("flash", "--port", bench.port, "--firmware", str(other))
    assert done.returncode in (ExitCode.WRONG_CHIP, ExitCode.BAD_FIRMWARE), done.stderr
    assert asked("info", "--port", bench.port)["unique_id"] == relay["identity"]


def _cut_short(bench: Bench, stage: str) -> None:
    """Kill a flash when it comes to a stage, as a cable that is pulled ends it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bitrelay", *bench.flash_args()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        assert any(line.startswith(stage) for line in process.stdout), "it ended before it could be cut short"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(DEADLINE_S)
        process.stdout.close()
