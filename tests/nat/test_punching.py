"""Two hosts behind two routers that translate addresses reach one another, in network namespaces made for it."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from namespaces import Namespace, TwoRouters, why_not

HOST = str(Path(__file__).with_name("host.py"))
ROUNDS = 50
_WHY_NOT = why_not()

pytestmark = pytest.mark.skipif(_WHY_NOT is not None, reason=f"{_WHY_NOT}")


class Program:
    def __init__(self, namespace: Namespace, *words: str) -> None:
        command = namespace.command([sys.executable, HOST, *words])
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )

    def line(self) -> dict[str, Any]:
        assert self.process.stdout is not None and self.process.stderr is not None
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        told: dict[str, Any] = json.loads(line)
        return told

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def meet(anna_behind: str, bela_behind: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What Anna, who punches, and Bela, who waits, told in the end; Bela's only if a path came about."""
    with ExitStack() as stack:
        net = stack.enter_context(TwoRouters(anna_behind, bela_behind))

        def start(namespace: Namespace, *words: str) -> Program:
            program = Program(namespace, *words)
            stack.callback(program.close)
            return program

        node = start(net.public, "node")
        assert node.line() == {"up": True}
        bela = start(net.bela, "host", "2", "1", "0")
        assert bela.line() == {"here": True}
        anna = start(net.anna, "host", "1", "2", str(ROUNDS))
        assert anna.line() == {"here": True}
        told = anna.line()
        return told, None if "error" in told else bela.line()


@pytest.mark.requirement("DSC-33")
@pytest.mark.parametrize(
    ("anna_behind", "bela_behind"),
    [("port restricted", "port restricted"), ("symmetric", "full cone"), ("full cone", "port restricted")],
)
def test_two_hosts_behind_two_routers_reach_one_another(anna_behind: str, bela_behind: str) -> None:
    anna, bela = meet(anna_behind, bela_behind)
    assert anna == {"kind": anna_behind.upper().replace(" ", "_"), "echoed": ROUNDS}
    assert bela == {"kind": bela_behind.upper().replace(" ", "_")}


def test_behind_two_symmetric_routers_there_is_no_way_and_that_is_said() -> None:
    anna, _ = meet("symmetric", "symmetric")
    assert anna["kind"] == "SYMMETRIC"
    assert anna["error"] in ("Unreachable", "DeviceTimeout")
