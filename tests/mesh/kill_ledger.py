"""Kills what writes a ledger and a store of frames, at random moments, and looks whether what it said is there.

    python tests/mesh/kill_ledger.py --kills 100 [--seed 1]

Prints a line of JSON and ends with status 1 if anything was lost or doubled. tests/mesh/test_kill_ledger.py does it
three times.
"""

import argparse
import json
import os
import random
import select
import signal
import sqlite3
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "host")]

from bitrelay.gateway.bridge_frame import BridgeFrame, parse_frame  # noqa: E402
from bitrelay.gateway.config import StoreConfig  # noqa: E402
from bitrelay.gateway.store import FrameStore  # noqa: E402
from bitrelay.mesh.ledger_verify import verify_file  # noqa: E402
from bitrelay.mesh.relay_ledger import RelayLedger  # noqa: E402
from shared_protocol.frame import encode  # noqa: E402
from tests.mesh.ledgers import KEYS, NOW, events  # noqa: E402

DEADLINE_S = 30
MOST_LINES = 60
KEPT = 200
"""Frames that wait at any time, more or less."""
CONFIG = StoreConfig(frames=1000, bytes=1 << 20, age_s=1e6)


@dataclass
class Said:
    """What was acknowledged. ledger: number of the last entry; put, done: of the last frame put and let go."""

    ledger: int = 0
    put: int = 0
    done: int = 0
    claimed: int = 0
    faults: list[str] = field(default_factory=list)


def frame(number: int) -> BridgeFrame:
    made = parse_frame(encode(2, 5, number, number.to_bytes(8, "big"), b"%d" % number * (number % 40)))
    assert made is not None
    return made


def write(folder: Path, put: int, seed: str) -> None:
    """What is killed: never ends by itself. put: frames up to this one were put for certain."""
    source = random.Random(seed)
    ledger = RelayLedger(folder / "ledger.sqlite", KEYS, lambda: NOW)
    store = FrameStore(folder / "frames.sqlite", CONFIG, lambda: NOW)
    while True:
        last = ledger.append(events(ledger.last + 1, ledger.last + source.randrange(1, 50)))
        say(f"ledger {last}")
        count = source.randrange(1, 30)
        store.put("east", "west", [(frame(put + each), NOW + 1e6) for each in range(1, count + 1)], NOW * 1000)
        put += count
        say(f"put {put}")
        if source.random() < 0.1:
            ledger.mark_claimed(last)
            say(f"claimed {last}")
        waiting = store.first("west", 1000)
        gone = waiting[: max(0, len(waiting) - KEPT)]
        if gone:
            store.done([each.number for each in gone])
            say(f"done {gone[-1].frame.timestamp_ms}")


def say(line: str) -> None:
    os.write(1, line.encode() + b"\n")


def kill_once(folder: Path, said: Said, source: random.Random) -> None:
    """Let it write, kill it, and look."""
    command = [sys.executable, __file__, "--write", str(folder), "--put", str(said.put), "--seed", str(source.random())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        # A moment after so many lines; after none, it is just opening its files, or has not come so far.
        output, most = b"", source.randrange(MOST_LINES)
        while output.count(b"\n") < most:
            if not select.select([process.stdout], [], [], DEADLINE_S)[0]:
                raise TimeoutError("it writes nothing")
            output += os.read(process.stdout.fileno(), 64)
            if process.poll() is not None:
                raise ChildProcessError("it ended by itself")
        try:
            process.wait(source.uniform(0, 0.005) if most else source.uniform(0, 0.5))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        output += process.stdout.read()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    for line in output.decode().split("\n")[:-1]:
        what, number = line.split()
        setattr(said, what, int(number))
    look(folder, said)


def look(folder: Path, said: Said) -> None:
    """Note what is not as it was said."""
    for name in ("ledger.sqlite", "frames.sqlite"):
        if (folder / name).exists():
            database = sqlite3.connect(folder / name)
            (found,) = database.execute("PRAGMA integrity_check").fetchone()
            database.close()
            if found != "ok":
                said.faults.append(f"{name}: {found}")
    ledger = RelayLedger(folder / "ledger.sqlite", KEYS, lambda: NOW)
    store = FrameStore(folder / "frames.sqlite", CONFIG, lambda: NOW)
    try:
        entries = ledger.entries(most=1_000_000)
        if [entry.event for entry in entries] != events(1, ledger.last):
            said.faults.append("an entry was doubled or is another one")
        if ledger.last < said.ledger or ledger.claimed < said.claimed:
            said.faults.append(f"entries up to {ledger.last} are there, {said.ledger} were acknowledged")
        broken = verify_file(folder / "ledger.sqlite").broken
        if broken is not None:
            said.faults.append(broken.what)
        there = [stored.frame.timestamp_ms for stored in store.first("west", 10_000)]
        first = there[0] if there else said.put + 1
        if there != list(range(first, first + len(there))):
            said.faults.append("frames are not in order, or one is missing or doubled")
        if first + len(there) - 1 < said.put or first <= said.done:
            said.faults.append(f"frames up to {said.put} were put, up to {said.done} let go: there are {there}")
        if ledger.set_aside or store.set_aside or store.dropped or store.expired:
            said.faults.append("something was set aside, dropped or expired")
        # It may have put more than it came to say; it goes on behind that.
        said.put = max(said.put, first + len(there) - 1)
    finally:
        ledger.close()
        store.close()


def kill_often(folder: Path, kills: int, seed: int) -> Said:
    source = random.Random(seed)
    said = Said()
    for _ in range(kills):
        kill_once(folder, said, source)
    return said


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--write", type=Path, help="be the one that is killed")
    parser.add_argument("--put", type=int, default=0)
    asked = parser.parse_args()
    if asked.write:
        write(asked.write, asked.put, asked.seed)
    with tempfile.TemporaryDirectory() as folder:
        said = kill_often(Path(folder), asked.kills, int(asked.seed))
    told = {"kills": asked.kills, "entries": said.ledger, "frames": said.put, "done": said.done, "faults": said.faults}
    print(json.dumps(told))
    return 1 if said.faults else 0


if __name__ == "__main__":
    sys.exit(main())
