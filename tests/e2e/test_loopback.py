"""A lab is nobody's business but its user's: it listens on loopback only."""

import os
import sys
from pathlib import Path

import pytest

from bitrelay.lab.demo import chain
from bitrelay.lab.lab import Lab

_LISTEN = "0A"
_LOOPBACK = {"0100007F", "00000000000000000000000001000000"}


def sockets_of(pid: int) -> set[str]:
    """The inodes of a process's sockets."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


def listening(inodes: set[str]) -> list[str]:
    """The addresses (hexadecimal, as the kernel prints them) at which these sockets wait for strangers."""
    found = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            waits = fields[3] == _LISTEN or table.startswith("udp")
            if waits and fields[9] in inodes:
                found.append(fields[1].split(":")[0])
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_lab_listens_on_loopback_only() -> None:
    async with Lab(chain(1, 1)) as lab:
        await lab.ready()
        (board,) = lab.boards.values()
        assert board.pid is not None
        own = listening(sockets_of(os.getpid()))
        assert own and set(own) <= _LOOPBACK
        assert listening(sockets_of(board.pid)) == []
