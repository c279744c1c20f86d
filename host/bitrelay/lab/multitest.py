"""Run MicroPython's own multi-instance Bluetooth tests on virtual boards and compare with what real ones printed.

    python -m bitrelay.lab.multitest DIRECTORY_OF_TESTS [NAME ...] [--micropython PATH]

The tests are those of MicroPython's source tree, tests/multi_bluetooth: each file has functions instance0, instance1,
..., one per board, which talk to one another over Bluetooth and through `multitest` (here over standard input and
output). Exit code 0 if all that are offered pass, 1 otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import sys
import tempfile
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from bitrelay.errors import BitrelayError
from bitrelay.lab.build import find_interpreter
from bitrelay.lab.nimble import NimbleHost
from bitrelay.lab.radio import Radio

SHIM = Path(__file__).parent / "shim"
TIMEOUT_S = 30.0
GRACE_S = 2.0
NOT_OFFERED = {"l2cap_": "L2CAP channels", "gap_pair": "pairing", "deepsleep": "deep sleep"}

# The protocol is that of MicroPython's tests: lines that begin with one of four words are for the runner, the rest is
# the result.
INSTANCE = """
import sys
sys.path.insert(0, {shim!r})
import bluetooth_shim
bluetooth_shim.install({socket!r})
sys.path.pop(0)
import select
class multitest:
    _poller = select.poll()
    _poller.register(sys.stdin, 1)
    def _line():
        line = ""
        while not line.endswith("\\n"):
            multitest._poller.poll()
            line += sys.stdin.read(1)
        return line.strip()
    def globals(**names):
        for name in names:
            print("SET %s = %r" % (name, names[name]))
    def next():
        print("NEXT")
    def broadcast(text):
        print("BROADCAST", text)
    def wait(text):
        while multitest._line() != "BROADCAST " + text:
            pass
    def output_metric(text):
        print("OUTPUT_METRIC", text)
    def skip():
        print("SKIP")
        raise SystemExit
{names}
exec(open({test!r}).read())
instance{index}()
"""


class Outcome(Enum):
    PASS = "pass"
    FAIL = "FAIL"
    SKIP = "skip"
    NOT_OFFERED = "not offered"


@dataclass(frozen=True)
class Result:
    name: str
    outcome: Outcome
    output: str = ""
    expected: str = ""
    remarks: tuple[str, ...] = ()


@dataclass
class _Instance:
    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    reader: asyncio.Task[None] | None = None

    async def end(self) -> None:
        """Let the process end, or make it."""
        try:
            await asyncio.wait_for(self.process.wait(), GRACE_S if self.reader and self.reader.done() else 0)
        except TimeoutError:
            # Not process.kill(): it may reap the child and confuse asyncio, which waits for it too.
            os.kill(self.process.pid, signal.SIGKILL)
            await self.process.wait()
        if self.reader:
            self.reader.cancel()
            await asyncio.gather(self.reader, return_exceptions=True)


class _Run:
    """One test: its boards, and what they say to one another."""

    def __init__(self, test: Path, micropython: str, directory: Path) -> None:
        self._test = test
        self._micropython = micropython
        self._directory = directory
        self._names: list[str] = []
        self._instances: list[_Instance] = []
        self._broadcasts: list[bytes] = []
        self.metrics: list[str] = []
        self.is_skipped = False

    async def play(self, count: int) -> str:
        """Start the boards, each when the one before is ready; wait for all; gives their output as .exp files do."""
        radio = Radio()
        hosts = []
        try:
            for index in range(count):
                host = NimbleHost(radio.add(f"board{index}", f"F0:F1:F2:F3:F4:{index + 1:02X}"))
                hosts.append(host)
                socket_path = self._directory / str(index)
                await host.serve(socket_path)
                instance = await self._start(index, socket_path)
                await instance.ready.wait()
            await asyncio.gather(*(instance.reader for instance in self._instances if instance.reader))
        finally:
            for instance in self._instances:
                await instance.end()
            for host in hosts:
                await host.close()
            radio.close()
        return self.output

    @property
    def output(self) -> str:
        return "".join(
            f"--- instance{index} ---\n" + "\n".join(instance.lines) + "\n"
            for index, instance in enumerate(self._instances)
        )

    async def _start(self, index: int, socket_path: Path) -> _Instance:
        code = INSTANCE.format(
            shim=str(SHIM), socket=str(socket_path), test=str(self._test), index=index, names="\n".join(self._names)
        )
        process = await asyncio.create_subprocess_exec(
            self._micropython,
            "-c",
            code,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self._directory,
        )
        instance = _Instance(process)
        self._instances.append(instance)
        assert process.stdin is not None
        process.stdin.writelines(self._broadcasts)
        instance.reader = asyncio.create_task(self._read(instance))
        return instance

    async def _read(self, instance: _Instance) -> None:
        assert instance.process.stdout is not None
        async for raw in instance.process.stdout:
            self._on_line(instance, raw.decode(errors="replace").rstrip())
        instance.ready.set()

    def _on_line(self, instance: _Instance, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "SET":
            self._names.append(rest)
        elif line == "NEXT":
            instance.ready.set()
        elif line == "SKIP":
            self.is_skipped = True
        elif word == "BROADCAST":
            # For those that are yet to be started, too.
            self._broadcasts.append(line.encode() + b"\n")
            for other in self._instances:
                if other is not instance and other.process.stdin is not None:
                    other.process.stdin.write(self._broadcasts[-1])
        elif word == "OUTPUT_METRIC":
            self.metrics.append(rest)
        else:
            instance.lines.append(line)


@dataclass(frozen=True)
class TestFile:
    """One file of the directory: what it holds, and what real boards printed."""

    path: Path
    instances: int
    expected: str
    not_offered: str

    @property
    def name(self) -> str:
        return self.path.stem


def find_tests(directory: Path, names: list[str]) -> list[TestFile]:
    """The tests of a directory, all or those named. Raises OSError if one cannot be read."""
    return [_load(path.resolve()) for path in sorted(directory.glob("*.py")) if not names or path.stem in names]


def _load(path: Path) -> TestFile:
    source = path.read_text()
    instances = len(set(re.findall(r"^def (instance\d+)\(\):", source, re.MULTILINE)))
    not_offered = next((what for word, what in NOT_OFFERED.items() if word in source), "")
    return TestFile(path, instances, Path(f"{path}.exp").read_text(), not_offered)


async def run_test(test: TestFile, micropython: str) -> Result:
    """Run one test; one that is not done within TIMEOUT_S fails."""
    if test.not_offered:
        return Result(test.name, Outcome.NOT_OFFERED, remarks=(test.not_offered,))
    with tempfile.TemporaryDirectory(prefix="bitrelay-") as directory:
        run = _Run(test.path, micropython, Path(directory))
        try:
            output = await asyncio.wait_for(run.play(test.instances), TIMEOUT_S)
        except TimeoutError:
            output = run.output + "TIMEOUT\n"
    if run.is_skipped:
        return Result(test.name, Outcome.SKIP)
    outcome = Outcome.PASS if output == test.expected else Outcome.FAIL
    return Result(test.name, outcome, output, test.expected, tuple(run.metrics))


async def run_tests(tests: list[TestFile], micropython: str) -> list[Result]:
    """Run tests one after the other, and print each result when it is there."""
    results = []
    for test in tests:
        result = await run_test(test, micropython)
        results.append(result)
        print(f"{result.name}: {result.outcome.value}", *result.remarks, sep="  ", flush=True)
        if result.outcome is Outcome.FAIL:
            print(f"expected:\n{result.expected}got:\n{result.output}", flush=True)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="bitrelay.lab.multitest", description="Run MicroPython's multi_bluetooth tests."
    )
    parser.add_argument("directory", type=Path, help="tests/multi_bluetooth of MicroPython's sources")
    parser.add_argument("names", nargs="*", help="names of tests, without .py; all if none is given")
    parser.add_argument("--micropython", type=Path, help="interpreter to run; the one installed if none is given")
    arguments = parser.parse_args()
    try:
        tests = find_tests(arguments.directory, arguments.names)
        micropython = str(find_interpreter(arguments.micropython).path)
    except (OSError, BitrelayError) as error:
        parser.error(str(error))
    if not tests:
        parser.error("no such test")
    results = asyncio.run(run_tests(tests, micropython))
    passed = sum(result.outcome is Outcome.PASS for result in results)
    failed = sum(result.outcome is Outcome.FAIL for result in results)
    print(f"{passed} passed, {failed} failed, {len(results) - passed - failed} not run")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
