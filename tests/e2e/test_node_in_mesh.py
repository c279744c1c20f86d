"""Two nodes of the DHT whose computers have nothing in common but the mesh that their relays are in."""

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from relays import DEADLINE_S, on_air_id

from bitrelay.errors import ExitCode
from bitrelay.lab.lab import Lab
from bitrelay.lab.scenario import BoardSpec, Edge, Scenario

PAIR = Scenario(boards=(BoardSpec("west"), BoardSpec("east")), edges=(Edge("west", "east"),))


class Node:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, stack: AsyncExitStack, folder: Path, relay: str) -> "Node":
        options = ("--listen", "udp://127.0.0.1:0", "--state", str(folder), "--difficulty", "8", "--relay", relay)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bitrelay", "node", "run", *options, "--json",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        stack.push_async_callback(cls._end, process)
        return cls(process)

    @staticmethod
    async def _end(process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            process.kill()
        await process.communicate()

    async def line(self) -> Any:
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            return json.loads(await self.process.stdout.readline())


@pytest.mark.requirement("DSC-26")
async def test_two_nodes_find_one_another_by_their_relays(tmp_path: Path) -> None:
    async with Lab(PAIR) as lab, AsyncExitStack() as stack:
        await lab.ready()
        nodes = []
        for name in ("west", "east"):
            await on_air_id(lab.boards[name])
            nodes.append(await Node.start(stack, tmp_path / name, lab.boards[name].port))
        west, east = [await node.line() for node in nodes]
        while (line := await nodes[1].line()).get("event") != "node_added":
            pass
        assert line["id"] == west["id"] and line["addresses"] == [west["udp"]]
        nodes[1].process.terminate()
        async with asyncio.timeout(DEADLINE_S):
            assert await nodes[1].process.wait() == ExitCode.INTERRUPTED
        assert east["id"] != west["id"]
