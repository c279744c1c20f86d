"""A router that opens ports is asked for one, in a network namespace."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from namespaces import TwoRouters, why_not

ROUTER = str(Path(__file__).with_name("router.py"))
# What is printed: the way in, or why there is none.
ASK = """
import asyncio
from bitrelay.errors import Unreachable
from bitrelay.nat.upnp import close_way_in, open_way_in
async def ask():
    try:
        way = await open_way_in(8766)
        print(way.external, way.internal)
        await close_way_in(8766)
    except Unreachable as error:
        print(error.what)
asyncio.run(ask())
"""
_WHY_NOT = why_not()

pytest.importorskip("miniupnpc", reason="miniupnpc is not installed: pip install 'bitrelay[upnp]'")
pytestmark = pytest.mark.skipif(_WHY_NOT is not None, reason=f"{_WHY_NOT}")


@pytest.fixture
def net() -> Iterator[TwoRouters]:
    with TwoRouters("port restricted", "port restricted") as net:
        yield net


def ask(net: TwoRouters) -> str:
    command = net.anna.command([sys.executable, "-c", ASK])
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def ask_router(net: TwoRouters, outside: str) -> tuple[str, list[dict[str, Any]]]:
    """What the host says, and what the router was told; outside: what the router takes for its own address."""
    command = net.anna_router.command([sys.executable, ROUTER, "192.168.1.1", outside])
    router = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert router.stdout is not None and json.loads(router.stdout.readline()) == {"up": True}
        said = ask(net)
    finally:
        router.kill()
        told, _ = router.communicate()
    return said, [json.loads(line) for line in told.splitlines()]


@pytest.mark.requirement("DSC-33")
def test_the_router_opens_a_port_and_closes_it(net: TwoRouters) -> None:
    said, told = ask_router(net, "9.9.9.9")
    assert said == "udp://9.9.9.9:8766 udp://192.168.1.2:8766"
    assert [one["action"] for one in told] == ["AddPortMapping", "DeletePortMapping"]
    mapping = told[0]
    assert (mapping["NewInternalClient"], mapping["NewInternalPort"]) == ("192.168.1.2", "8766")
    assert (mapping["NewProtocol"], mapping["NewLeaseDuration"]) == ("UDP", "3600")


def test_a_router_behind_another_one_is_no_way_in(net: TwoRouters) -> None:
    said, told = ask_router(net, "100.64.0.9")
    assert (said, told) == ("the router has no public address itself", [])


def test_no_such_router_is_said(net: TwoRouters) -> None:
    assert ask(net) == "no router here opens ports (UPnP)"


async def test_without_the_library_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from bitrelay.errors import BrokenInstallation
    from bitrelay.nat.upnp import open_way_in

    monkeypatch.setitem(sys.modules, "miniupnpc", None)
    with pytest.raises(BrokenInstallation, match="upnp"):
        await asyncio.wait_for(open_way_in(1), 10)
