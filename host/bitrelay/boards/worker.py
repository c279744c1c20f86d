"""The other end of session.py: asks the process that has a board's port, and ends it when it hangs or is in the way."""

import asyncio
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

from bitrelay import errors
from bitrelay.errors import BitrelayError, DeviceTimeout

from .bootloader import TransferFailed

Values = dict[str, Any]

# Called with the name of a stage, how much of it is done, and how much there is, 0 if that is not known.
OnStage = Callable[[str, int, int], None]

# The files of a board come back on one line.
_LONGEST_LINE = 64 << 20
_GOES_WITHIN_S = 3.0
_LAST_WORDS = 20


class Worker:
    """A running session; made by `start`, ended at the end of `async with`. port is what errors name."""

    def __init__(self, process: asyncio.subprocess.Process, port: str) -> None:
        self._process = process
        self._port = port
        self._words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._hearing = asyncio.create_task(self._hear())

    @classmethod
    async def start(cls, port: str) -> "Worker":
        """Start the process. It has no port yet."""
        process = await asyncio.create_subprocess_exec(
            # -P: a file of the user's called serial.py must not be taken for pyserial.
            *(sys.executable, "-P", "-m", "bitrelay.boards.session"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
            # Ctrl-C is for us; the process is told when it is its turn.
            start_new_session=True,
        )
        return cls(process, port)

    async def __aenter__(self) -> "Worker":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.end()

    async def ask(
        self, do: str, quiet_s: float, on_stage: OnStage = lambda stage, done, total: None, **values: Any
    ) -> Values:
        """Have something done and return its result; quiet_s is how long nothing may be heard meanwhile.

        Raises the errors of the session, with our port; DeviceTimeout if nothing is heard, after which it is of no use
        any more.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, "values": values}).encode() + b"\n")
            async with asyncio.timeout(quiet_s):
                await self._process.stdin.drain()
            while True:
                async with asyncio.timeout(quiet_s):
                    line = await self._process.stdout.readline()
                if not line:
                    raise await self._died()
                answer = json.loads(line)
                if "stage" in answer:
                    on_stage(answer["stage"], answer["done"], answer["total"])
                elif "error" in answer:
                    raise _error(answer, self._port)
                else:
                    return dict(answer["result"])
        except TimeoutError:
            raise DeviceTimeout(
                f"nothing was heard for {quiet_s:g} s", device=self._port, hint="Try again, with another cable or port"
            ) from None
        except (BrokenPipeError, ConnectionResetError):
            raise await self._died() from None

    async def end(self) -> None:
        """End the process; it starts the board first if it can. Harmless when repeated."""
        await asyncio.shield(asyncio.ensure_future(self._end()))

    async def _end(self) -> None:
        if self._process.returncode is None:
            self._signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), _GOES_WITHIN_S)
            except TimeoutError:
                self._signal(signal.SIGKILL)
                await self._process.wait()
        await self._hearing

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.kill(self._process.pid, number)
        except ProcessLookupError:
            pass

    async def _hear(self) -> None:
        assert self._process.stderr is not None
        try:
            async for line in self._process.stderr:
                self._words.append(line.decode(errors="replace").rstrip())
        except ValueError:
            pass  # a line beyond the limit

    async def _died(self) -> BitrelayError:
        await self._process.wait()
        await self._hearing
        last = self._words[-1] if self._words else f"status {self._process.returncode}"
        return BitrelayError(f"the process that writes has ended: {last}", device=self._port)


def _error(answer: Values, port: str) -> BitrelayError:
    kind = TransferFailed if answer["error"] == TransferFailed.__name__ else getattr(errors, answer["error"], None)
    if not (isinstance(kind, type) and issubclass(kind, BitrelayError)):
        kind = BitrelayError
    return kind(answer["what"], device=port, hint=answer["hint"])
