"""The gateways of a demonstration: they find together, none dies unnoticed, and none is left behind."""

import asyncio
import os
import signal
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lab_command import are_gone

from bitrelay.errors import BrokenInstallation, DeviceError
from bitrelay.gateway.config import EngineKind
from bitrelay.lab import broker
from bitrelay.lab.gateway_fleet import GatewayFleet
from bitrelay.lab.gateway_plan import Broker, GatewayPlan, config_text, plan_gateways
from bitrelay.lab.tied_process import TiedProcess

DEADLINE_S = 20
LAB: Any = SimpleNamespace(boards={name: SimpleNamespace(port=f"/dev/{name}") for name in ("relay1", "relay2")})

# Says what a gateway says that has found all that it trusts.
STAND_IN = """
import json, sys, time, tomllib
config = tomllib.load(open(sys.argv[4], "rb"))
def say(**values):
    print(json.dumps(values), flush=True)
say(id="00", listen=["tcp://127.0.0.1:1"])
say(event="relay_up", mesh=config["mesh"][0]["name"], relay="relay")
for peer in config["federation"]["trust"]:
    say(event="gateway_joined", id=peer)
if "dies" in sys.argv[0]:
    sys.exit("it has had enough")
time.sleep(60)
"""


@pytest.fixture(params=["stays"])
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, ...]]:
    path = tmp_path / f"{request.param}.py"
    path.write_text(STAND_IN)
    yield sys.executable, str(path)


def fleet_of(tmp_path: Path, program: tuple[str, ...]) -> GatewayFleet:
    return GatewayFleet(plan_gateways(("relay1",), ("relay2",), 1), EngineKind.LINKS, tmp_path, program)


@pytest.mark.parametrize(
    ("per_mesh", "gates"),
    [
        (1, [("west1", "relay3"), ("east1", "relay4")]),
        (2, [("west1", "relay3"), ("west2", "relay2"), ("east1", "relay4"), ("east2", "relay5")]),
    ],
)
def test_gateways_are_where_the_meshes_face_each_other(per_mesh: int, gates: list[tuple[str, str]]) -> None:
    plans = plan_gateways(("relay1", "relay2", "relay3"), ("relay4", "relay5", "relay6"), per_mesh)
    assert [(plan.name, plan.relay) for plan in plans] == gates


@pytest.mark.parametrize("broker", [None, Broker(1883, Path("/fleet.key"))])
def test_configuration_is_toml_and_opens_the_way_down(broker: Broker | None) -> None:
    plan = GatewayPlan("west1", "west", "relay3")
    text = config_text(
        plan, "/dev/pts/7", Path('/a "b" \\c'), trust=[bytes(32)], peers=["tcp://127.0.0.1:7"], broker=broker
    )
    values = tomllib.loads(text)
    assert values["state"] == '/a "b" \\c'
    assert (values["mesh"][0]["relays"], values["mesh"][0]["downlink"]) == (["serial:///dev/pts/7"], True)
    if broker:
        assert values["federation"] == {"engine": "mqtt"}
        assert values["mqtt"] == {"host": "127.0.0.1", "port": 1883, "fleet_key": "/fleet.key"}
    else:
        assert values["federation"]["peers"] == ["tcp://127.0.0.1:7"]
        assert values["federation"]["trust"] == [bytes(32).hex()]


async def test_gateways_dial_those_before_them_and_find_together(tmp_path: Path, program: tuple[str, ...]) -> None:
    async with fleet_of(tmp_path, program) as fleet:
        await fleet.prepare()
        assert len(fleet.awaited()) == 2
        await fleet.start(LAB)
        await asyncio.wait_for(fleet.whole(), DEADLINE_S)
        assert fleet.linked() == 2
        west, east = fleet.runs
        assert tomllib.loads(east.config.read_text())["federation"]["peers"] == west.first["listen"]
        assert tomllib.loads(west.config.read_text())["federation"]["trust"] == [east.peer_id.hex()]


@pytest.mark.parametrize("program", ["dies"], indirect=True)
async def test_gateway_that_dies_is_told_with_its_last_words(tmp_path: Path, program: tuple[str, ...]) -> None:
    async with fleet_of(tmp_path, program) as fleet:
        await fleet.prepare()
        with pytest.raises(DeviceError, match=r"ended with status 1; the last it said: it has had enough") as error:
            await fleet.start(LAB)
            await asyncio.wait_for(fleet.watch(), DEADLINE_S)
        assert error.value.device in ("west1", "east1")


SLEEPER = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"


async def test_process_ends_with_whoever_started_it(tmp_path: Path) -> None:
    starts = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom bitrelay.lab.tied_process import TiedProcess\n"
        "async def main():\n"
        f"    process = await TiedProcess.start((sys.executable, '-c', {SLEEPER!r}), Path({str(tmp_path / 'log')!r}))\n"
        "    async for line in process.lines():\n        print(line.decode(), end='', flush=True)\n"
        "asyncio.run(main())\n"
    )
    lab = await asyncio.create_subprocess_exec(sys.executable, "-c", starts, stdout=asyncio.subprocess.PIPE)
    assert lab.stdout
    sleeper = int(await asyncio.wait_for(lab.stdout.readline(), DEADLINE_S))
    lab.kill()
    await lab.wait()
    assert await asyncio.to_thread(are_gone, [sleeper])


async def test_process_is_stopped(tmp_path: Path) -> None:
    process = await TiedProcess.start((sys.executable, "-c", SLEEPER), tmp_path / "log")
    async for line in process.lines():
        pid = int(line)
        break
    assert await process.stop() == await process.stop() == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_broker_takes_connections_until_it_is_stopped(tmp_path: Path) -> None:
    try:
        broker.find_mosquitto()
    except BrokenInstallation as error:
        pytest.skip(str(error))
    process, where = await broker.start_broker(tmp_path)
    _, writer = await asyncio.open_connection("127.0.0.1", where.port)
    writer.close()
    assert (where.fleet_key.stat().st_mode & 0o777, len(where.fleet_key.read_text())) == (0o600, 65)
    await process.stop()
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", where.port)


def test_missing_broker_is_told_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(broker, "_ALSO_IN", ())
    with pytest.raises(BrokenInstallation, match="apt install mosquitto"):
        broker.find_mosquitto()
