"""A program beside the lab, in a process that ends when the lab's does, however that happens."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Self

# The shell reads until the lab closes the pipe, or is gone, and then ends the program. SIGHUP, which a board's process
# gets with its terminal, would not do: to a service it says "read your files again".
_TIE = """exec 3<&0 </dev/null
"$@" 3<&- &
child=$!
exec >/dev/null 2>&1
cat <&3
kill "$child"
wait "$child"
"""
_STOP_S = 10.0
_LONGEST_LINE = 1 << 20
_TAIL = 2000
_TAIL_LINES = 5


class TiedProcess:
    """Made by start(). What it prints comes from lines(); what it says on stderr goes to the file `log`."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self.log = log

    @classmethod
    async def start(cls, arguments: Sequence[str], log: Path) -> Self:
        """Start a program with arguments; it reads nothing."""
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *("sh", "-c", _TIE, "sh", *arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                # Ctrl-C is for the lab, which ends what it has started.
                start_new_session=True,
                limit=_LONGEST_LINE,
            )
        return cls(process, log)

    async def lines(self) -> AsyncIterator[bytes]:
        """The lines it prints, until it has ended or closed its output."""
        assert self._process.stdout
        while line := await self._process.stdout.readline():
            yield line

    async def stop(self) -> int:
        """End it if it runs; returns its exit status. Harmless when repeated."""
        assert self._process.stdin
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_S):
                await self._process.wait()
        except TimeoutError:
            pass
        finally:
            # Not once it was waited for: the number may belong to another by then.
            if self._process.returncode is None:
                os.killpg(self._process.pid, signal.SIGKILL)
        return await self._process.wait()

    def tail(self) -> str:
        """The last lines of its log, in one; empty if there are none."""
        said = self.log.read_bytes()[-_TAIL:].decode(errors="replace")
        return " / ".join(said.splitlines()[-_TAIL_LINES:])
