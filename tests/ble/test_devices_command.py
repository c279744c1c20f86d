"""`bitrelay devices --ble` beside a lab: the radio runs in another thread, the command as in a process of its own."""

import asyncio
import json
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from virtual_node import VirtualNode

from bitrelay import ports
from bitrelay.ble import survey as surveying
from bitrelay.ble.adapter import Adapter
from bitrelay.cli import app
from bitrelay.lab.hci_server import HciServer
from bitrelay.lab.phone import Phone
from bitrelay.lab.radio import Radio

DEADLINE_S = 30.0


class NoAdapter:
    """A computer without Bluetooth, whatever this one has."""

    def __init__(self, *_arguments: Any, **_options: Any) -> None:
        pass

    async def start(self) -> None:
        raise FileNotFoundError(2, "No such file or directory")


@pytest.fixture(autouse=True)
def no_bluetooth(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(surveying, "Adapter", lambda *given: Adapter(*given) if given else Adapter(scanner=NoAdapter))  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as directory:
        monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
        yield Path(directory)


@contextmanager
def lab_beside(directory: Path, populate: Callable[[Radio], Awaitable[None]]) -> Iterator[None]:
    """A radio with whoever populate() puts on it, in a thread, told of as a lab does."""
    loop = asyncio.new_event_loop()
    ready: Future[Path] = Future()
    done = asyncio.Event()

    async def run() -> None:
        radio = Radio(seed=1, exponent=2.0)
        server = HciServer(radio)
        await populate(radio)
        ready.set_result(await server.open(directory))
        await done.wait()
        await server.close()
        radio.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        ports.advertise([], ready.result(DEADLINE_S))
        yield
    finally:
        ports.withdraw()
        loop.call_soon_threadsafe(done.set)
        thread.join(DEADLINE_S)
        loop.close()


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["devices", "--ble", "--seconds", "1", *arguments])
    return result.exit_code, result.stdout, result.stderr


async def node_and_phone(radio: Radio) -> None:
    await VirtualNode("node", radio, 1, load=42, free_links=1, position=(4.0, 0.0)).start()
    await Phone("alice", radio, position=(2.0, 0.0), dials=False, announce=False).start()


@pytest.mark.requirement("BLE-07")
def test_who_is_heard_is_listed_the_loudest_first(no_bluetooth: Path) -> None:
    with lab_beside(no_bluetooth, node_and_phone):
        code, out, err = run("--json")
        code_text, text, _ = run()
    assert (code, code_text) == (0, 0)
    phone, node = json.loads(out)
    assert (phone["services"], phone["id"], phone["version"], phone["rssi"]) == (["bitchat"], None, None, -46)
    assert node | {"id": "", "heard_by": ""} == {
        "id": "", "name": "", "rssi": -52, "distance_m": 0.4, "services": ["bitcraps"], "capabilities": ["mesh"],
        "load": 42, "free_links": 1, "version": "1.4", "address": "f0:f1:f2:f3:f6:01", "heard_by": "",
    }  # fmt: skip
    assert len(bytes.fromhex(node["id"])) == 8 and node["heard_by"].startswith("lab ")
    assert "not everything was listened to" in err and "D-Bus" in err
    line = next(line for line in text.splitlines() if node["id"] in line)
    for word in ("bitcraps", "-52 dBm", "0.4 m", "mesh", "42 %", "1.4", "f0:f1:f2:f3:f6:01"):
        assert word in line


def test_nobody_is_no_failure(no_bluetooth: Path) -> None:
    async def nobody(_radio: Radio) -> None:
        return

    with lab_beside(no_bluetooth, nobody):
        code, out, _ = run()
    assert (code, out.split(".")[0]) == (0, "Nobody heard within 1 s")


def test_without_bluetooth_and_lab_it_says_what_to_do() -> None:
    code, out, err = run("--json")
    assert code == 92
    told = json.loads(out)
    assert told["exit_code"] == 92 and "D-Bus" in told["error"] and told["hint"]
    assert err.count("\n") == 1 and "Traceback" not in err


def test_a_lab_that_has_just_ended_is_told(no_bluetooth: Path) -> None:
    ports.advertise([], no_bluetooth / "gone")
    code, _, err = run()
    ports.withdraw()
    assert code == 92 and "D-Bus" in err


def test_seconds_go_with_ble() -> None:
    assert CliRunner().invoke(app, ["devices", "--seconds", "2"]).exit_code == 2
    assert CliRunner().invoke(app, ["devices", "--ble", "--seconds", "0"]).exit_code == 2
