"""A board to test: one on a bench (--port), or a virtual one (--virtual-board CHIP). The tests do not know which.

    pytest tests/hardware --virtual-board esp32c3
    pytest tests/hardware --port /dev/ttyUSB0 --line /dev/ttyUSB0,/dev/ttyUSB1,/dev/ttyUSB2

Everything on the board under test is overwritten. docs/board-guide.md says more.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench import Bench, asked, running


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--virtual-board", metavar="CHIP", help="test a virtual board: esp32, esp32c3 or esp32s3")
    parser.addoption("--firmware", metavar="FILE", help="MicroPython image for the board; without it, the pinned one")
    parser.addoption("--line", metavar="PORTS", help="three flashed relays that hear one another, for forwarding")


@pytest.fixture(scope="session")
def lab_board(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """A virtual board of its own process, blank at first; its line of JSON."""
    with running("lab", "board", "--chip", request.config.getoption("--virtual-board"), "--json") as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest) -> Bench:
    """Where the board under test is."""
    option = request.config.getoption
    if option("--virtual-board"):
        board = request.getfixturevalue("lab_board")
        return Bench(board["port"], option("--firmware") or board["firmware"])
    if not option("--port"):
        pytest.exit("Give a board: --port /dev/ttyUSB0, or --virtual-board esp32c3", 2)
    return Bench(option("--port"), option("--firmware"))


@pytest.fixture
def port(bench: Bench) -> str:
    """pytest-embedded's fixture of this name: the port that `dut` opens."""
    return bench.port


@pytest.fixture(scope="session")
def relay(bench: Bench) -> dict[str, Any]:
    """The board under test, erased and made a relay; what `bitrelay flash` said of it."""
    return asked(*bench.flash_args(), "--erase", "--name", "bench")


@pytest.fixture(scope="session")
def line(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """The ports of three relays; the first and the last need not hear each other."""
    if request.config.getoption("--virtual-board"):
        with running("lab", "up", str(Path(__file__).parent / "line.toml"), "--json") as process:
            assert process.stdout is not None
            yield [board["port"] for board in json.loads(process.stdout.readline())]
        return
    ports = (request.config.getoption("--line") or "").split(",")
    if len(ports) != 3:
        pytest.skip("needs three relays: --line PORT,PORT,PORT")
    yield ports


@pytest.fixture(autouse=True, scope="session")
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    # What a flash that was cut short has saved is of this run only.
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    yield
    if before is None:
        del os.environ["XDG_STATE_HOME"]
    else:
        os.environ["XDG_STATE_HOME"] = before
