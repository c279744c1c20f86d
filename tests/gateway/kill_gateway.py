"""Kills gateways at random moments under load and starts them again at once, as systemd would; run as a command.

python tests/gateway/kill_gateway.py [--kills 100] [--rate 10]
python tests/gateway/kill_gateway.py --pairs [--frames 1000] [--rate 10]

Two lab meshes of one relay and one phone each, a gateway process on each, frames both ways all the time. After every
kill: the ledger is whole, what it had before is in it once, the SQLite files are sound, and the gateway is linked and
has its relay again. In the end it tells what arrived, what did not, and what came twice.

With --pairs: two relays and two gateways in each mesh, and one gateway of each is killed in the middle, for good.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sqlite3
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bitrelay.dht.state_directory import IDENTITY
from bitrelay.gateway.state import FRAMES, LEDGER
from bitrelay.identity.generate import generate
from bitrelay.lab.gateway_plan import GatewayPlan, config_text
from bitrelay.lab.lab import Lab
from bitrelay.lab.scenario import BoardSpec, Edge, PhoneSpec, Scenario
from bitrelay.lab.traffic import Flow, run_flow
from bitrelay.mesh.ledger_export import export
from bitrelay.mesh.ledger_verify import verify_file

BACK_S = 60.0
LAB = Scenario(
    boards=(BoardSpec("w"), BoardSpec("e")),
    phones=(PhoneSpec("alice", "ios", announce=False), PhoneSpec("bob", "android", announce=False)),
    edges=(Edge("alice", "w"), Edge("bob", "e")),
)


class Killed:
    """One gateway that is killed and comes back."""

    def __init__(self, plan: GatewayPlan, folder: Path, others: int = 1) -> None:
        self.plan = plan
        self.folder = folder
        self.state = folder / "state"
        self.ids: list[str] = []
        self.entries: dict[int, str] = {}
        self.listen = ""
        self.process: asyncio.subprocess.Process | None = None
        self.ready = asyncio.Event()
        self.listens = asyncio.Event()
        self._others = others
        self._seen: dict[str, float] = {}
        """Of the relay and the other gateways: seconds after the start."""
        self._started_at = 0.0
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.ready.clear()
        self._seen.clear()
        self._started_at = time.monotonic()
        with (self.folder / "gateway.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bitrelay", "gateway", "run"),
                *("--config", str(self.folder / "gateway.toml"), "--json"),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        self._reading = asyncio.create_task(self._read(self.process))

    async def back(self) -> str:
        """When it has its relay and the other gateways again; how long that took."""
        async with asyncio.timeout(BACK_S):
            await self.ready.wait()
        relay, linked = self._seen["relay"], max(at for who, at in self._seen.items() if who != "relay")
        return f"relay after {relay:.1f} s, linked after {linked:.1f} s"

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        assert self.process is not None and self._reading is not None
        self.process.send_signal(number)
        await self.process.wait()
        await self._reading

    def remember(self) -> None:
        """What is in the ledger now, which the gateway has on its disk."""
        for record in export(self.state / LEDGER):
            if "number" in record and "hash" in record:
                self.entries[int(str(record["number"]))] = str(record["hash"])

    def check(self) -> list[str]:
        """What is wrong with its files."""
        faults = []
        verdict = verify_file(self.state / LEDGER)
        if verdict.broken is not None:
            faults.append(f"ledger: {verdict.broken}")
        now: dict[int, str] = {}
        packets: Counter[tuple[str, str]] = Counter()
        for record in export(self.state / LEDGER):
            if "number" in record and "hash" in record:
                now[int(str(record["number"]))] = str(record["hash"])
                packets[str(record["packet_hash"]), str(record["target"])] += 1
        lost = [number for number, hash in self.entries.items() if now.get(number) != hash]
        if lost:
            faults.append(f"entries lost or altered: {lost[:5]}")
        doubled = [packet for packet, count in packets.items() if count > 1]
        if doubled:
            faults.append(f"{len(doubled)} frames are twice in the ledger")
        for name in (LEDGER, FRAMES):
            with closing(sqlite3.connect(f"file:{self.state / name}?mode=ro", uri=True)) as database:
                found = database.execute("PRAGMA integrity_check").fetchone()[0]
                if found != "ok":
                    faults.append(f"{name}: {found}")
        return faults

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            said: dict[str, Any] = json.loads(line)
            if "id" in said and "listen" in said:
                self.ids.append(said["id"])
                self.listen = said["listen"][0]
                self.listens.set()
            elif said.get("event") in ("relay_up", "gateway_joined"):
                who = str(said.get("id")) if said["event"] == "gateway_joined" else "relay"
                self._seen.setdefault(who, time.monotonic() - self._started_at)
            if len(self._seen) == 1 + self._others:
                self.ready.set()


async def run(kills: int, rate: float, seed: int) -> int:
    chance = random.Random(seed)
    faults: list[str] = []
    with TemporaryDirectory() as folder:
        async with Lab(LAB) as lab:
            await lab.ready()
            gateways = [
                Killed(GatewayPlan("west", "west", "w"), Path(folder, "w")),
                Killed(GatewayPlan("east", "east", "e"), Path(folder, "e")),
            ]
            await prepare(gateways, lab)
            flows = [
                asyncio.create_task(run_flow(Flow(sender, (to,), count=10**9, rate=rate), lab.phones, lab.ledger, seed))
                for sender, to in (("alice", "bob"), ("bob", "alice"))
            ]
            start = time.monotonic()
            for number in range(1, kills + 1):
                await asyncio.sleep(chance.uniform(0.0, 1.5))
                gateway = chance.choice(gateways)
                gateway.remember()
                await gateway.kill()
                found = gateway.check()
                await gateway.start()
                back = await gateway.back()
                found += gateway.check()
                if len(set(gateway.ids)) != 1:
                    found.append("it is another one now")
                faults += [f"kill {number}, {gateway.plan.name}: {fault}" for fault in found]
                print(f"kill {number} of {kills}: {'; '.join(found) or 'sound'}; {back}", flush=True)
            for flow in flows:
                flow.cancel()
            await asyncio.gather(*flows, return_exceptions=True)
            await asyncio.sleep(3.0)
            for gateway in gateways:
                await gateway.kill(signal.SIGTERM)
                faults += gateway.check()
                print(f"{gateway.plan.name}: {len(gateway.entries)} entries were remembered")
            report = lab.ledger.report()
            print(json.dumps(report.as_json() | {"seconds": round(time.monotonic() - start, 1), "faults": faults}))
    return 1 if faults else 0


async def run_pairs(frames: int, rate: float, seed: int) -> int:
    ends = ("west", ("alice", "w1", "w2")), ("east", ("bob", "e1", "e2"))
    phones = (PhoneSpec("alice", "ios", announce=False), PhoneSpec("bob", "android", announce=False))
    flows = [Flow(sender, (to,), count=frames // 2, rate=rate) for sender, to in (("alice", "bob"), ("bob", "alice"))]
    lines = [Edge(a, b) for _, line in ends for a, b in zip(line, line[1:], strict=False)]
    boards = tuple(BoardSpec(name) for _, line in ends for name in line[1:])
    with TemporaryDirectory() as folder:
        async with Lab(Scenario(boards=boards, phones=phones, edges=tuple(lines))) as lab:
            await lab.ready()
            gateways = [
                Killed(GatewayPlan(f"{mesh}{line[n]}", mesh, line[n]), Path(folder, line[n]), others=3)
                for n in (1, 2)
                for mesh, line in ends
            ]
            await prepare(gateways, lab)
            playing = [asyncio.create_task(run_flow(flow, lab.phones, lab.ledger, seed)) for flow in flows]
            await asyncio.sleep(frames / 2 / rate / 2)
            await asyncio.gather(gateways[0].kill(), gateways[3].kill())
            await asyncio.gather(*playing)
            await asyncio.sleep(5.0)
            faults = [fault for gateway in gateways for fault in gateway.check()]
            for gateway in (gateways[1], gateways[2]):
                await gateway.kill(signal.SIGTERM)
            report = lab.ledger.report()
            print(json.dumps(report.as_json() | {"missing": report.sent - report.delivered, "faults": faults}))
    return 1 if faults or report.duplicates or report.altered else 0


async def prepare(gateways: list[Killed], lab: Lab) -> None:
    own = []
    for gateway in gateways:
        gateway.state.mkdir(mode=0o700, parents=True)
        own.append((await generate(gateway.state / IDENTITY, 8, workers=1)).local.keys.peer_id)
    peers: list[str] = []
    for gateway in gateways:
        port = lab.boards[gateway.plan.relay].port
        text = config_text(gateway.plan, port, gateway.state, trust=own, peers=peers)
        (gateway.folder / "gateway.toml").write_text(text)
        await gateway.start()
        async with asyncio.timeout(BACK_S):
            await gateway.listens.wait()
        # Who is dialled has to be where it was when it comes back.
        fixed = text.replace('"tcp://127.0.0.1:0"', json.dumps(gateway.listen))
        (gateway.folder / "gateway.toml").write_text(fixed)
        peers.append(gateway.listen)
    for gateway in gateways:
        await gateway.back()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--rate", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(2)))
    parser.add_argument("--pairs", action="store_true")
    parser.add_argument("--frames", type=int, default=1000)
    options = parser.parse_args()
    if options.pairs:
        sys.exit(asyncio.run(run_pairs(options.frames, options.rate, options.seed)))
    sys.exit(asyncio.run(run(options.kills, options.rate, options.seed)))
