"""`bitrelay flash` as somebody types it."""

import grp
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bitrelay.backup import BackupContents, write_backup
from bitrelay.boards.job import FlashResult, Target
from bitrelay.boards.plan import Wishes
from bitrelay.boards.rescue import rescue_path
from bitrelay.boards.targets import demand_access, no_board
from bitrelay.cli.flash import _show, _wishes
from bitrelay.cli.output import Output
from bitrelay.errors import PortError, WrongPassphrase
from tests.boards.conftest import identity_file
from tests.host.command import finish, run, start

DEADLINE_S = 30.0

StartBoard = Callable[..., dict[str, Any]]


@pytest.fixture
def start_board() -> Iterator[StartBoard]:
    """Starts `bitrelay lab board`; what its one line says."""
    running: list[subprocess.Popen[str]] = []

    def begin(*args: str) -> dict[str, Any]:
        running.append(start("lab", "board", "--json", *args))
        out = running[-1].stdout
        assert out is not None
        line = out.readline()
        assert line, running[-1].communicate()[1]
        return json.loads(line)  # type: ignore[no-any-return]

    yield begin
    for process in running:
        process.send_signal(signal.SIGINT)
        finish(process)


def test_all_boards_have_a_line_each_and_one_that_fails_gives_the_exit_code(start_board: StartBoard) -> None:
    good, small = start_board("--chip", "esp32c3"), start_board("--chip", "esp32s3", "--flash-size", "2MB")
    done = run("flash", "--json")
    assert done.returncode == 66
    assert good["pty"] in done.stderr and small["pty"] in done.stderr and "--all" in done.stderr
    done = run("flash", "--all", "--dry-run", "--json")
    assert done.returncode == 86
    told = {values.get("port") or values["device"]: values for values in map(json.loads, done.stdout.splitlines())}
    assert told[good["pty"]]["chip"] == "esp32c3" and told[good["pty"]]["verified"] is False
    assert told[small["pty"]]["exit_code"] == 86
    assert "1 of 2 boards failed" in done.stderr


def test_no_board_says_what_to_plug_in_and_offers_virtual_ones() -> None:
    done = run("flash", "--json")
    assert done.returncode == 66
    told = json.loads(done.stdout)
    assert "no board found" in told["error"]
    assert "Plug in an ESP32" in told["hint"] and "./flash.sh --virtual 3" in told["hint"]


def test_an_adapter_without_a_port_is_told(tmp_path: Path) -> None:
    def plug(name: str, vendor: str, product: str) -> Path:
        device = tmp_path / name
        (device / f"{name}:1.0").mkdir(parents=True)
        (device / "idVendor").write_text(f"{vendor}\n")
        (device / "idProduct").write_text(f"{product}\n")
        return device / f"{name}:1.0"

    plug("1-1", "046d", "c077")
    assert "no board found" in str(no_board(tmp_path, "linux"))
    interface = plug("1-2", "1a86", "7523")
    assert "a CH340 is plugged in that has no serial port" in str(no_board(tmp_path, "linux"))
    assert "brltty" in str(no_board(tmp_path, "linux"))
    (interface / "ttyUSB0").mkdir()
    assert "CH340" not in str(no_board(tmp_path, "linux"))
    assert "CP210x" in str(no_board(tmp_path / "none", "darwin"))


def test_a_port_that_this_user_may_not_open_is_told_with_the_group_to_join(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ttyUSB0").touch()
    port = str(tmp_path / "ttyUSB0")
    demand_access(Target(port, port))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    group = grp.getgrgid((tmp_path / "ttyUSB0").stat().st_gid).gr_name
    with pytest.raises(PortError, match=rf"takes the group {group}.*usermod -aG {group} \$USER") as error:
        demand_access(Target(port, port))
    assert error.value.device == port


@pytest.mark.parametrize(
    "args, says",
    [
        (["--all", "-p", "x"], "leave --port out"),
        (["--identity"], "goes with --restore"),
        (["--restore", "a", "--settings", "b"], "give one of"),
        (["--all", "--name", "x"], "are for one board"),
        (["-p", "a", "-p", "b", "--restore", "c", "--identity"], "are for one board"),
        (["--baud", "1"], "--baud"),
    ],
)
def test_options_that_contradict_each_other(args: list[str], says: str) -> None:
    done = run("flash", *args)
    assert done.returncode == 2
    assert says in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    "args, says",
    [
        (["--board", "devkit"], "no board is called 'devkit'"),
        (["--name", "x" * 40], "name must be text of 1 to 29 bytes"),
        (["--settings", "missing.toml"], "missing.toml"),
        (["--restore", "missing.json"], "missing.json"),
        (["--firmware", "missing.bin"], "missing.bin: no such file"),
    ],
)
def test_what_is_wrong_before_a_board_is_touched(args: list[str], says: str) -> None:
    done = run("flash", "-p", "rfc2217://127.0.0.1:9", *args)
    assert done.returncode == 65
    assert says in done.stderr


def test_the_only_board_there_is_becomes_a_relay_also_when_the_first_run_was_stopped(start_board: StartBoard) -> None:
    board = start_board("--chip", "esp32s3", "--flash-size", "8MB")
    mac = board["mac"].replace(":", "")
    process = start("flash", "--name", "roof")
    assert process.stdout is not None
    stages = []
    while not stages or stages[-1] != "writing":
        stages.append(process.stdout.readline().strip())
        assert stages[-1]
    process.send_signal(signal.SIGINT)
    out, err = finish(process)
    assert (process.returncode, err) == (130, "")
    assert stages[0] == "connecting"
    assert "half written: flash it again" in out
    assert rescue_path(mac).exists()
    done = run("flash", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout.splitlines()[-1])
    assert told | {"port": board["pty"], "chip": "esp32s3", "board": "esp32_generic_s3", "verified": True} == told
    assert told | {"flash_size": 8 << 20, "firmware": "v1.29.0+x64", "mac": mac, "identity": mac} == told
    assert re.fullmatch(r"\d+\.\d+\.\d+", told["version"]) and re.fullmatch("[0-9a-f]{12}", told["build"])
    assert told["seconds"] > 0 and set(told["stages"]) >= {"connect", "write", "verify", "start"}
    assert told["kept"] == ["/settings.json"]
    assert json.loads(run("info", "--json").stdout)["name"] == "roof"


def test_people_are_told_who_runs_now_and_the_next_step(capsys: pytest.CaptureFixture[str]) -> None:
    result = FlashResult(
        port="/dev/ttyUSB0",
        chip="esp32",
        board="esp32_generic",
        flash_size=4 << 20,
        mac="240ac4c0ffee",
        firmware="v1.29.0",
        version="0.1.0",
        build="0123456789ab",
        identity="240ac4c0ffee",
        seconds=21.34,
        stages={},
        kept=(),
        verified=True,
    )
    _show(Output(False), result, several=False, dry_run=False)
    done, next_step = capsys.readouterr().out.splitlines()
    assert done == (
        "/dev/ttyUSB0: relay 240ac4c0ffee runs bitrelay 0.1.0 (program 0123456789ab) on MicroPython v1.29.0, esp32, "
        "after 21.3 s."
    )
    assert next_step.startswith("Next: bitrelay info -p /dev/ttyUSB0")


def test_settings_come_from_a_settings_file_or_a_backup(tmp_path: Path) -> None:
    toml, backup = tmp_path / "settings.toml", tmp_path / "roof.backup"
    toml.write_text('name = "roof"\nlog_level = 1\n')
    contents = BackupContents(b'{"name":  "roof"}', identity_file(b"roof"))
    write_backup(backup, contents, "secret")
    wishes = _wishes("cellar", toml, None, None)
    assert wishes.name == "cellar"
    assert json.loads(wishes.settings or b"") == {"name": "roof", "log_level": 1}
    assert _wishes(None, backup, None, None) == Wishes(None, contents.settings, None)
    assert _wishes(None, None, backup, None) == Wishes(None, contents.settings, None)
    assert _wishes(None, None, backup, lambda: "secret") == Wishes(None, contents.settings, contents.identity)
    with pytest.raises(WrongPassphrase):
        _wishes(None, None, backup, lambda: "another")
    assert _wishes(None, None, None, None) == Wishes()


def test_on_a_terminal_it_asks_which_one(start_board: StartBoard) -> None:
    boards = sorted([start_board("--name", "left"), start_board("--name", "right")], key=lambda one: str(one["name"]))
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "bitrelay", "flash", "--dry-run"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=os.environ | {"TERM": "dumb", "COLUMNS": "200"},
    )
    os.close(slave)
    try:
        assert re.search(r"1 +\S*left +left, .* of a running lab", heard(master, "Which one"))
        os.write(master, b"2\n")
        assert boards[1]["pty"] in heard(master, "nothing was written")
        assert process.wait(DEADLINE_S) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)


def heard(terminal: int, text: str) -> str:
    """What a terminal shows, until this text is in it."""
    seen, end = "", time.monotonic() + DEADLINE_S
    while text not in seen:
        assert select.select([terminal], [], [], max(0.0, end - time.monotonic()))[0], seen
        seen += os.read(terminal, 4096).decode(errors="replace")
    return seen
