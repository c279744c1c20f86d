"""A lab comes up from a scenario, lets things happen to it, and leaves nothing behind."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bitrelay import ports
from bitrelay.errors import BadData, DeviceError, DeviceTimeout
from bitrelay.lab.board import BoardState
from bitrelay.lab.frame_maker import Kind
from bitrelay.lab.lab import Lab
from bitrelay.lab.scenario import BoardSpec, Edge, Fault, FaultKind, PhoneSpec, Scenario
from bitrelay.lab.traffic import Flow

DEADLINE_S = 30.0

ONE = Scenario(
    boards=(BoardSpec("relay"),),
    phones=(PhoneSpec("a", announce=False), PhoneSpec("b", announce=False)),
    edges=(Edge("a", "relay"), Edge("relay", "b")),
    traffic=(Flow("a", ("b",), count=10, hops=1),),
)


@pytest.fixture(autouse=True)
def own_directories(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What a lab leaves behind would be here."""
    # Not tmp_path: its names are so long that a lab would put its sockets elsewhere, where nobody looks.
    with tempfile.TemporaryDirectory() as directory:
        monkeypatch.setattr(tempfile, "tempdir", directory)
        monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
        yield Path(directory)


def left_behind(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def linked(lab: Lab) -> set[frozenset[str]]:
    return {frozenset((link.a, link.b)) for link in lab.links() if link.ready}


async def until(question: Callable[[], object]) -> None:
    end = asyncio.get_running_loop().time() + DEADLINE_S
    while not question():
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.02)


def process_exists(pid: int | None) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_boards_are_found_while_it_runs_and_nothing_is_left_after(own_directories: Path) -> None:
    async with Lab(ONE) as lab:
        await lab.ready(DEADLINE_S)
        assert linked(lab) == {frozenset(("a", "relay")), frozenset(("relay", "b"))}
        (port,) = ports.virtual_boards()
        assert (port.name, port.port, port.rfc2217) == ("relay", lab.boards["relay"].port, lab.boards["relay"].url)
        report = await lab.play()
        assert report.is_perfect
        assert report.sent == 10
        pid = lab.boards["relay"].pid
    assert not process_exists(pid)
    assert left_behind(own_directories) == []


async def test_faults_do_what_they_say() -> None:
    async with Lab(ONE) as lab:
        await lab.ready(DEADLINE_S)
        relay, a, b = lab.boards["relay"], lab.phones["a"], lab.phones["b"]

        await lab.apply(Fault(0, FaultKind.FREEZE, "relay"))
        assert relay.state is BoardState.FROZEN
        assert len(linked(lab)) == 2, "the controller of a hung host keeps its links"
        await lab.apply(Fault(0, FaultKind.THAW, "relay"))

        await lab.apply(Fault(0, FaultKind.JAM, between=("a", "relay")))
        await until(lambda: not a.links)
        assert b.open_links
        await lab.apply(Fault(0, FaultKind.UNJAM, between=("a", "relay")))
        await until(lambda: a.open_links)

        await lab.apply(Fault(0, FaultKind.KILL, "b"))
        assert not b.is_on
        await until(lambda: len(linked(lab)) == 1)
        await lab.apply(Fault(0, FaultKind.START, "b"))
        await until(lambda: b.open_links)

        link = a.links[0]
        await lab.apply(Fault(0, FaultKind.KILL, "relay"))
        assert relay.state is BoardState.OFF
        async with asyncio.timeout(DEADLINE_S):
            await link.closed.wait()
        assert link.reason == 0x08, "who loses power says no goodbye"
        await lab.apply(Fault(0, FaultKind.START, "relay"))
        await lab.ready(DEADLINE_S)
        assert (await lab.play()).is_perfect


async def test_moving_nodes_meet_and_part() -> None:
    scenario = Scenario(
        phones=(PhoneSpec("a", announce=False, position=(0, 0)), PhoneSpec("b", announce=False, position=(500, 0))),
        traffic=(Flow("a", ("b",), kinds=(Kind.PUBLIC,), count=1),),
        faults=(Fault(0.0, FaultKind.MOVE, "b", position=(10.0, 0.0), over=0.4),),
    )
    async with Lab(scenario) as lab:
        await lab.ready(DEADLINE_S)
        assert not linked(lab)
        await lab.run_faults()
        assert lab.radio.rssi("a", "b") is not None
        await lab.phones["a"].wait_links(1, 10.0)


async def test_board_that_cannot_run_is_reported_with_its_last_output(own_directories: Path) -> None:
    scenario = Scenario(boards=(BoardSpec("small", heap="4k"),))
    with pytest.raises(DeviceError, match="small: its interpreter is not ready.*MemoryError"):
        async with Lab(scenario) as lab:
            await lab.ready(DEADLINE_S)
    assert left_behind(own_directories) == []


async def test_what_keeps_it_from_being_ready_is_told() -> None:
    async with Lab(ONE) as lab:
        with pytest.raises(DeviceTimeout, match="relay: not ready within 0.1 s: its program did not .*POWERON_RESET"):
            await lab.ready(0.1)
        await lab.ready(DEADLINE_S)
        lab.boards["relay"].freeze()
        with pytest.raises(DeviceTimeout, match="b: .*hears nothing of a"):
            await lab.ready(0.1)


@pytest.mark.parametrize(
    ("interpreter", "says"),
    [("/bin/true", "not a MicroPython interpreter"), ("/nonexistent", "/nonexistent: no such file")],
)
async def test_other_interpreter_that_is_none(own_directories: Path, interpreter: str, says: str) -> None:
    with pytest.raises(BadData, match=says):
        async with Lab(ONE, micropython=Path(interpreter)):
            pass
    assert left_behind(own_directories) == []


async def test_failure_half_way_up_leaves_nothing(own_directories: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bitrelay.lab.phone import Phone

    pids = []

    async def fail(phone: Phone) -> None:
        pids.append(lab.boards["relay"].pid)
        raise RuntimeError("half way")

    monkeypatch.setattr(Phone, "start", fail)
    lab = Lab(ONE)
    with pytest.raises(RuntimeError, match="half way"):
        async with lab:
            pass
    assert pids
    assert not process_exists(pids[0])
    assert left_behind(own_directories) == []
