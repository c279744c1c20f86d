"""Nodes that run for good: they find one another, come back after a restart, and damage on disk costs no start."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bitrelay.dht.commands import Commands
from bitrelay.dht.service import Dropped, Joined, NodeService, Settings, Told, Trouble
from bitrelay.dht.state_directory import StateDirectory
from bitrelay.dht.udp import UdpNetwork
from bitrelay.errors import BadData, CheckFailed, DamagedIdentity, PortBusy
from bitrelay.identity.local import save_identity
from bitrelay.identity.pending import pending_path
from bitrelay.transports.address import Udp
from tests.dht.nodes import DEADLINE_S, LOOPBACK, until
from tests.identity.mined import BITS, local_identity


class Running:
    """A service in a directory, and what it told."""

    def __init__(
        self,
        folder: Path,
        bootstrap: tuple[Udp, ...] = (),
        clock: Callable[[], float] = time.time,
        listen: Udp = LOOPBACK,
        **more: Any,
    ) -> None:
        self.told: list[Told] = []
        self.settled = asyncio.Event()
        self.directory = StateDirectory(folder, clock)
        settings = Settings((listen,), bootstrap, difficulty=BITS, **more)
        try:
            self.service = NodeService(self.directory, self.directory.identity, settings, tell=self._tell, clock=clock)
        except BaseException:
            self.directory.close()
            raise

    def _tell(self, told: Told) -> None:
        self.told.append(told)
        if isinstance(told, Joined | Trouble):
            self.settled.set()

    @property
    def dropped(self) -> list[str]:
        return [told.what for told in self.told if isinstance(told, Dropped)]

    async def command(self, do: str, **more: Any) -> tuple[Any, list[Any]]:
        steps: list[Any] = []

        async def tell(step: Any) -> None:
            steps.append(step)

        done = await asyncio.wait_for(Commands(self.service).handle({"do": do} | more, tell), DEADLINE_S)
        return done, steps


def give_identity(folder: Path, number: int) -> None:
    """Unless the folder is there already."""
    if not folder.exists():
        folder.mkdir(mode=0o700)
        save_identity(folder / "own.identity", local_identity(number, int(time.time())))


@asynccontextmanager
async def running(folder: Path, *bootstrap: Udp, number: int = 0, **how: Any) -> AsyncIterator[Running]:
    """A node that has joined or found nobody. number: of the identity that it is given, else it mines its own."""
    if number:
        give_identity(folder, number)
    node = Running(folder, bootstrap, **how)
    try:
        await node.service.start()
        await asyncio.wait_for(node.settled.wait(), DEADLINE_S)
        yield node
    finally:
        await node.service.stop()
        node.directory.close()


PUT = {"kind": "application", "name": "mesh", "lifetime_s": 600}


async def test_nodes_find_one_another_and_each_others_values(tmp_path: Path) -> None:
    async with running(tmp_path / "a") as ada:
        first = ada.service.network.bound[0]
        async with running(tmp_path / "b", first, number=2) as bob, running(tmp_path / "c", first, number=3) as eve:
            done, _ = await bob.command("put", data=b"here".hex(), **PUT)
            assert (done["stored"], done["refused"], done["lost"]) == (3, [], 0)
            done, _ = await eve.command("get", kind="application", name="mesh")
            assert [bytes.fromhex(value["data"]) for value in done["values"]] == [b"here"]
            owner = done["values"][0]["owner"]
            assert (await eve.command("get", kind="application", name="mesh", owner=owner))[0]["values"]
            assert not (await eve.command("get", kind="application", name="mesh", owner="00" * 32))[0]["values"]
            ids = {node.service.node.node_id.hex() for node in (ada, bob, eve)}
            _, peers = await ada.command("peers")
            assert {peer["id"] for peer in peers} == ids - {ada.service.node.node_id.hex()}
            done, steps = await eve.command("lookup", id="00" * 32, trace=True, paths=2)
            assert {found["id"] for found in done["closest"]} == ids - {eve.service.node.node_id.hex()}
            assert len(steps) == done["messages"]
            done, found = await ada.command("crawl", seconds=5, interval_ms=50)
            assert done["peers"] == len(found) == 2
            done, _ = await ada.command("status")
            assert (done["id"], done["peers"], done["values"]) == (ada.service.node.node_id.hex(), 2, 1)


@pytest.mark.parametrize(
    "request_",
    [
        {"do": "dance"},
        {"do": 3},
        {"do": "lookup", "id": "zz" * 32},
        {"do": "lookup", "id": "00" * 31},
        {"do": "lookup", "id": "00" * 32, "paths": 9},
        {"do": "put", "name": "mesh", "kind": "dance", "data": "", "lifetime_s": 9},
        {"do": "put", "name": "mesh", "kind": "application", "data": "00" * 513, "lifetime_s": 9},
        {"do": "put", "name": "mesh", "kind": "application", "data": "00", "lifetime_s": 86_401},
        {"do": "put", "name": "", "kind": "application", "data": "00", "lifetime_s": 9},
        {"do": "put", "name": "\ud800", "kind": "application", "data": "00", "lifetime_s": 9},
        {"do": "get", "name": "mesh" * 20, "kind": "application"},
        {"do": "crawl", "seconds": 1e9, "interval_ms": 50},
        {"do": "crawl", "seconds": 5, "interval_ms": 0},
    ],
)
async def test_a_command_that_makes_no_sense_is_refused(tmp_path: Path, request_: dict[str, Any]) -> None:
    async with running(tmp_path / "a", number=1) as ada:
        with pytest.raises(BadData):
            await Commands(ada.service).handle(request_, lambda step: asyncio.sleep(0))


async def test_after_a_restart_a_node_comes_back_by_whom_it_knew(tmp_path: Path) -> None:
    async with running(tmp_path / "a", number=1) as ada:
        first = ada.service.network.bound[0]
        async with running(tmp_path / "b", first, number=2) as bob:
            await bob.command("put", data=b"mine".hex(), **PUT)
        async with running(tmp_path / "b") as bob:
            assert bob.dropped == []
            assert bob.told[-1] == Joined(1)
            assert [value.data for value in bob.service.node.own.values()] == [b"mine"]
            done, _ = await bob.command("get", kind="application", name="mesh")
            assert done["messages"] == 1
            assert len(done["values"]) == 1


async def test_a_later_value_wins_though_the_clock_was_set_back(tmp_path: Path) -> None:
    now = time.time()
    async with running(tmp_path / "a", number=1, clock=lambda: now) as ada:
        await ada.command("put", data=b"first".hex(), **PUT)
    now -= 100
    async with running(tmp_path / "a", clock=lambda: now) as ada:
        await ada.command("put", data=b"second".hex(), **PUT)
        done, _ = await ada.command("get", kind="application", name="mesh")
        assert [bytes.fromhex(value["data"]) for value in done["values"]] == [b"second"]


async def test_without_anybody_at_the_first_nodes_it_says_so_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    greet = UdpNetwork.greet
    monkeypatch.setattr(UdpNetwork, "greet", lambda self, address: greet(self, address, timeout=0.1))
    async with running(tmp_path / "a", Udp("127.0.0.1", 9), number=1) as ada:
        assert isinstance(ada.told[-1], Trouble)
        assert ada.service.identity.running


async def test_whom_it_knew_is_asked_again_when_nobody_was_there_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bitrelay.dht.node.PING_TIMEOUT_S", 0.1)
    monkeypatch.setattr("bitrelay.dht.service.ALONE_S", 0.05)
    async with running(tmp_path / "a", number=1) as ada:
        place = ada.service.network.bound[0]
        async with running(tmp_path / "b", place, number=2):
            pass
    for _ in range(2):
        async with running(tmp_path / "b") as bob:
            assert isinstance(bob.told[-1], Trouble)
    async with running(tmp_path / "b") as bob:
        assert isinstance(bob.told[-1], Trouble)
        async with running(tmp_path / "a", listen=place):
            await until(lambda: bob.told[-1] == Joined(1))


def damaged(path: Path, how: str) -> None:
    data = path.read_bytes()
    path.unlink()
    match how:
        case "empty":
            path.touch(mode=0o600)
        case "directory":
            path.mkdir(mode=0o700)
            (path / "full").touch()
        case "garbage":
            path.write_bytes(random.Random(4).randbytes(len(data)))
        case "cut":
            path.write_bytes(data[: len(data) // 3])
        case _:
            at = int(how) % max(1, len(data))
            path.write_bytes(data[:at] + bytes((data[at] ^ 0x55,)) + data[at + 1 :] if data else b"?")
    path.chmod(0o700 if how == "directory" else 0o600)


OFFSETS = ("0", "18", "62", "71", "101", "4100", "9000")


@pytest.mark.parametrize("how", ["empty", "directory", "garbage", "cut", *OFFSETS])
async def test_whatever_file_is_damaged_the_node_starts_and_says_what_it_dropped(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "a"
    async with running(tmp_path / "other", number=2) as other:
        first = other.service.network.bound[0]
        async with running(folder, first, number=1) as ada:
            await ada.command("put", data=b"mine".hex(), **PUT)
        names = sorted(path.name for path in folder.iterdir())
        assert names == ["node.lock", "own.identity", "peers.sqlite", "state.sqlite"]
        for name in ("node.lock", "peers.sqlite", "state.sqlite"):
            damaged(folder / name, how)
        async with running(folder, first) as ada:
            assert ada.told[-1] == Joined(1)
            aside = {path.name.partition(".damaged-")[0] for path in folder.iterdir() if "damaged-" in path.name}
            assert {name for name in names if any(name in what for what in ada.dropped)} == aside
            if how in ("directory", "garbage", "cut", "0"):
                assert {"peers.sqlite", "state.sqlite"} <= aside
            assert (await ada.command("put", data=b"mine".hex(), **PUT))[0]["stored"] == 2
        async with running(folder, first) as ada:
            assert ada.dropped == [], "what was set aside is told once"


@pytest.mark.parametrize("how", ["empty", "garbage", "cut", "200"])
async def test_a_damaged_identity_is_never_replaced(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "a"
    async with running(folder, number=1):
        pass
    damaged(folder / "own.identity", how)
    before = (folder / "own.identity").read_bytes()
    with pytest.raises(DamagedIdentity):
        async with running(folder):
            pass
    assert (folder / "own.identity").read_bytes() == before


async def test_work_on_an_identity_that_was_damaged_is_begun_anew(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir(mode=0o700)
    pending = pending_path(folder / "own.identity")
    pending.write_bytes(b"nothing of the kind")
    pending.chmod(0o600)
    async with running(folder) as ada:
        assert len(ada.dropped) == 1
        assert (folder / "own.identity").exists()


async def test_an_identity_of_too_little_work_is_told(tmp_path: Path) -> None:
    give_identity(tmp_path / "a", 1)
    directory = StateDirectory(tmp_path / "a", time.time)
    try:
        service = NodeService(directory, directory.identity, Settings((LOOPBACK,), difficulty=BITS + 1))
        with pytest.raises(BadData, match="proof of work"):
            await service.start()
    finally:
        directory.close()


async def test_two_nodes_cannot_have_one_directory(tmp_path: Path) -> None:
    async with running(tmp_path / "a", number=1):
        with pytest.raises(PortBusy):
            Running(tmp_path / "a")


async def test_a_value_that_nobody_keeps_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path / "a", number=1) as ada:
        monkeypatch.setattr(ada.service.node, "_is_near", lambda key, closest: False)
        with pytest.raises(CheckFailed, match="no node keeps"):
            await ada.command("put", data="", **PUT)


async def test_nodes_in_the_local_network_find_one_another(tmp_path: Path) -> None:
    lan = {"lan": True, "lan_interfaces": ("127.0.0.1",)}
    async with running(tmp_path / "a", number=1, **lan) as ada, running(tmp_path / "b", number=2, **lan) as bob:
        if any(isinstance(told, Trouble) for told in (*ada.told, *bob.told)):
            pytest.skip("this computer has no multicast on loopback")
        await until(lambda: len(ada.service.node.table) == len(bob.service.node.table) == 1)
