"""Commands to a node that runs: one request a connection, bounded, and who hangs up ends the work."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from bitrelay.dht import control
from bitrelay.dht.control import MOST_REQUEST, ControlServer, Request, Tell, request
from bitrelay.errors import BadData, CommandFailed, DeviceTimeout, ExitCode, PeerError, PortError, Unreachable

DEADLINE_S = 20


class Work:
    """What the node does: as the request says."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()

    async def handle(self, wanted: Request, tell: Tell) -> Any:
        match wanted.get("do"):
            case "count":
                for number in range(3):
                    await tell(number)
                return {"counted": 3}
            case "refuse":
                raise BadData("that is nothing", hint="Say something")
            case "fail":
                raise KeyError("a fault")
            case _:
                self.begun.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    self.ended.set()


@asynccontextmanager
async def serving(path: Path, work: Work) -> AsyncIterator[None]:
    server = ControlServer(path, work.handle)
    await server.start()
    try:
        yield
    finally:
        await server.close()
        await server.close()


async def asked(path: Path, do: str, timeout: float = DEADLINE_S) -> list[Any]:
    return [answer async for answer in request(path, {"do": do}, timeout)]


async def test_steps_and_then_what_came_of_it(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with serving(path, Work()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await asked(path, "count") == [0, 1, 2, {"counted": 3}]
    assert not path.exists()


async def test_what_the_node_says_is_what_the_command_ends_with(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "control.sock"
    async with serving(path, Work()):
        with pytest.raises(CommandFailed) as refused:
            await asked(path, "refuse")
        with pytest.raises(CommandFailed, match="a fault in bitrelay") as failed:
            await asked(path, "fail")
    assert str(refused.value) == "that is nothing. Say something"
    assert (refused.value.exit_code, failed.value.exit_code) == (ExitCode.BAD_DATA, ExitCode.INTERNAL)


async def test_no_node_is_told(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with pytest.raises(Unreachable, match="no node runs"):
        await asked(path, "count")
    server = await asyncio.start_unix_server(lambda reader, writer: writer.close(), path)
    server.close()
    await server.wait_closed()
    assert path.exists(), "the socket of one that was killed"
    with pytest.raises(Unreachable, match="no node runs"):
        await asked(path, "count")
    async with serving(path, Work()):
        assert await asked(path, "count")


async def test_work_that_takes_too_long_ends_at_both_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, work = tmp_path / "control.sock", Work()
    async with serving(path, work):
        with pytest.raises(DeviceTimeout):
            await asked(path, "wait", timeout=0.05)
        await asyncio.wait_for(work.ended.wait(), DEADLINE_S)
        monkeypatch.setattr(control, "WORK_TIMEOUT_S", 0.05)
        with pytest.raises(CommandFailed, match="too long") as late:
            await asked(path, "wait")
        assert late.value.exit_code == ExitCode.TIMEOUT


async def test_who_hangs_up_ends_the_work_and_so_does_the_node(tmp_path: Path) -> None:
    path, work = tmp_path / "control.sock", Work()
    async with serving(path, work):
        _, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"do": "wait"}\n')
        await asyncio.wait_for(work.begun.wait(), DEADLINE_S)
        writer.close()
        await asyncio.wait_for(work.ended.wait(), DEADLINE_S)
        work.begun.clear()
        waits = asyncio.ensure_future(asked(path, "wait"))
        await asyncio.wait_for(work.begun.wait(), DEADLINE_S)
    with pytest.raises(PeerError):
        await asyncio.wait_for(waits, DEADLINE_S)


@pytest.mark.parametrize(
    "said",
    [
        b"\n", b"{\n", b"[]\n", b"\xff\xfe\n", b'{"do": "count"}', b"[" * 5000 + b"\n", b"x" * (2 * MOST_REQUEST),
        b"x" * (1 << 20), b"",
    ],
)  # fmt: skip
async def test_what_is_no_request_is_told_so(tmp_path: Path, said: bytes) -> None:
    path = tmp_path / "control.sock"
    async with serving(path, Work()):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(said)
        writer.write_eof()
        answer = json.loads(await asyncio.wait_for(reader.read(), DEADLINE_S))
        what = "too long" if len(said) > MOST_REQUEST else "cannot be read"
        assert (what in answer["error"], answer["exit_code"]) == (True, ExitCode.BAD_DATA)
        writer.close()
        assert await asked(path, "count")


async def test_there_are_so_many_at_a_time_and_no_more(tmp_path: Path) -> None:
    path, work = tmp_path / "control.sock", Work()
    async with serving(path, work):
        opened = [await asyncio.open_unix_connection(path) for _ in range(16)]
        for _, writer in opened:
            writer.write(b'{"do": "wait"}\n')
        await asyncio.wait_for(work.begun.wait(), DEADLINE_S)
        refused = [await asyncio.open_unix_connection(path) for _ in range(16)]
        for reader, _ in refused:
            assert "too much to do" in json.loads(await asyncio.wait_for(reader.readline(), DEADLINE_S))["error"]
        with pytest.raises(PeerError):
            await asked(path, "count")
        for reader, writer in refused:
            writer.close()
            await asyncio.wait_for(reader.read(), DEADLINE_S)
        with pytest.raises(CommandFailed, match="too much to do"):
            await until_told(path)
        for _, writer in opened:
            writer.close()


async def until_told(path: Path) -> None:
    """Ask until the node says anything; those that it turned away may not be gone yet."""
    while True:
        with suppress(PeerError):
            await asked(path, "count")
            return


async def test_a_request_that_is_too_long_is_not_sent(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="too long"):
        await asked(tmp_path / "control.sock", "x" * MOST_REQUEST)


async def test_a_path_that_is_too_long_is_told(tmp_path: Path) -> None:
    with pytest.raises(PortError, match="too long"):
        await ControlServer(tmp_path / ("x" * 200), Work().handle).start()


@pytest.mark.parametrize("answer", [b"", b"[]\n", b"{}\n", b'{"error": 1}\n', b"x" * (1 << 21)])
async def test_an_answer_that_is_none_is_told(tmp_path: Path, answer: bytes) -> None:
    path = tmp_path / "control.sock"

    async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    async with await asyncio.start_unix_server(lie, path):
        with pytest.raises((PeerError, CommandFailed)):
            await asked(path, "count")
