"""The gateways of a demonstration: processes of `bitrelay gateway run`, with their files in the lab's folder."""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bitrelay.dht.state_directory import IDENTITY
from bitrelay.errors import DeviceError, DeviceTimeout
from bitrelay.gateway.config import EngineKind
from bitrelay.identity.generate import generate

from .broker import start_broker, watch_broker
from .gateway_plan import DIFFICULTY, Broker, GatewayPlan, config_text
from .lab import Lab
from .tied_process import TiedProcess
from .waiting import together

_UP_S = 30.0


@dataclass
class GatewayRun:
    """One gateway of the fleet. peer_id: 32 bytes. first: the first line it printed, {} until then.

    linked: PeerIds, in hex, of the gateways that it can reach now. relay_up: whether its relay answers. What it says is
    in the folder: gateway.log has its words to people, events.jsonl what it printed.
    """

    plan: GatewayPlan
    folder: Path
    peer_id: bytes = b""
    first: dict[str, Any] = field(default_factory=dict)
    linked: set[str] = field(default_factory=set)
    relay_up: bool = False
    process: TiedProcess | None = None

    @property
    def config(self) -> Path:
        return self.folder / "gateway.toml"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def has_begun(self) -> bool:
        """Whether it has said where it listens."""
        return bool(self.first)


class GatewayFleet:
    """`async with GatewayFleet(plans, engine, folder) as fleet:`, then prepare() and start(); leaving ends them all.

    Every gateway trusts every other one, of its own mesh and of the others, and all are linked. program: what runs one,
    with arguments as `bitrelay` takes them.
    """

    def __init__(
        self,
        plans: tuple[GatewayPlan, ...],
        engine: EngineKind,
        directory: Path,
        program: tuple[str, ...] = (sys.executable, "-m", "bitrelay"),
    ) -> None:
        self._engine = engine
        self._directory = directory
        self._program = program
        self._broker: Broker | None = None
        self._changed = asyncio.Event()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._exit = AsyncExitStack()
        self._watching: set[asyncio.Task[None]] = set()
        self.runs = [GatewayRun(plan, directory / plan.name) for plan in plans]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        try:
            await together(*(self._stop(run) for run in self.runs))
        finally:
            await self._exit.aclose()
            if self._failed.done():
                self._failed.exception()  # nobody may have waited for it

    async def prepare(self) -> None:
        """Make their folders and identities, and start the broker if they need one. Raises what that raises."""
        for run in self.runs:
            run.state.mkdir(mode=0o700, parents=True)
        if self._engine is EngineKind.MQTT:
            process, self._broker = await start_broker(self._directory)
            self._exit.push_async_callback(process.stop)
            self._watch(watch_broker(process))
        await together(*(self._identify(run) for run in self.runs))

    async def start(self, lab: Lab) -> None:
        """Start them one by one: each dials those that listen already. Raises DeviceError for one that ends,
        DeviceTimeout."""
        addresses: list[str] = []
        for run in self.runs:
            others = [other.peer_id for other in self.runs if other is not run]
            port = lab.boards[run.plan.relay].port
            run.config.write_text(
                config_text(run.plan, port, run.state, trust=others, peers=addresses, broker=self._broker)
            )
            command = (*self._program, "gateway", "run", "--config", str(run.config), "--json")
            run.process = await TiedProcess.start(command, run.folder / "gateway.log")
            self._watch(self._follow(run, run.process))
            await self._until(run.has_begun, f"{run.plan.name} does not start")
            addresses += run.first.get("listen") or ()

    def awaited(self) -> list[str]:
        """What keeps the fleet from being whole, in words: relays that do not answer, gateways that are not linked."""
        missing = []
        for run in self.runs:
            if run.has_begun() and not run.relay_up:
                missing.append(f"{run.plan.name} has no relay")
            for other in self.runs:
                if other is not run and other.peer_id.hex() not in run.linked:
                    missing.append(f"{run.plan.name} has no link with {other.plan.name}")
        return missing

    def linked(self) -> int:
        """How many gateways can reach all others."""
        ids = {run.peer_id.hex() for run in self.runs}
        return sum(run.has_begun() and run.linked >= ids - {run.peer_id.hex()} for run in self.runs)

    async def whole(self) -> None:
        """Wait until each has its relay and is linked with each. Raises DeviceTimeout, and what watch() raises."""
        await self._until(lambda: not self.awaited(), "the gateways do not find together")

    async def watch(self) -> None:
        """Goes on for ever; raises DeviceError when a gateway or the broker ends, with the last it said."""
        await asyncio.shield(self._failed)

    async def _until(self, question: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(_UP_S):
                while True:
                    self._changed.clear()
                    if question():
                        return
                    changed = asyncio.ensure_future(self._changed.wait())
                    try:
                        await asyncio.wait((changed, self._failed), return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        changed.cancel()
                    if self._failed.done():
                        self._failed.result()
        except TimeoutError:
            raise DeviceTimeout(f"{what} within {_UP_S:g} s: {'; '.join(self.awaited())}{self._said()}") from None

    async def _identify(self, run: GatewayRun) -> None:
        made = await generate(run.state / IDENTITY, DIFFICULTY, workers=1)
        run.peer_id = made.local.proof.peer_id

    async def _follow(self, run: GatewayRun, process: TiedProcess) -> None:
        with (run.folder / "events.jsonl").open("ab", buffering=0) as events:
            async for line in process.lines():
                events.write(line)
                with suppress(ValueError):
                    said = json.loads(line)
                    if isinstance(said, dict):
                        self._take(run, said)
                        self._changed.set()
        status = await process.stop()
        raise DeviceError(
            f"the gateway ended with status {status}; the last it said: {process.tail() or 'nothing'}",
            device=run.plan.name,
        )

    def _take(self, run: GatewayRun, said: dict[str, Any]) -> None:
        if not run.first:
            run.first = said
            return
        match said.get("event"):
            case "relay_up":
                run.relay_up = True
            case "relay_lost":
                run.relay_up = False
            case "gateway_joined":
                run.linked.add(str(said.get("id")))
            case "gateway_lost":
                run.linked.discard(str(said.get("id")))

    async def _stop(self, run: GatewayRun) -> None:
        if run.process:
            await run.process.stop()

    def _watch(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._watching.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) and not self._failed.done():
            self._failed.set_exception(error)

    def _said(self) -> str:
        tails = ((run.plan.name, run.process.tail()) for run in self.runs if run.process)
        return "".join(f"; {name} said last: {tail}" for name, tail in tails if tail)
