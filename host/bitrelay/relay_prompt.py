"""Stops a relay's program to get MicroPython's prompt, and starts the program again from there.

docs/architecture.md, "A way in", has what the firmware does with these keys.
"""

import asyncio
from typing import Final

from .console import Console
from .errors import DeviceError, DeviceLost, DeviceTimeout, NotARelay
from .ports import how_to_reset, why_gone
from .relay_files import RESTART_S
from .serial_link import SerialLink

PROMPT_S: Final = 15.0

_PROMPT = b">>> "
_SOFT_RESET = b"soft reboot"
_CTRL_B = b"\x02"
_CTRL_C = b"\x03"
_CTRL_D = b"\x04"
_STOP = b"\r" + _CTRL_C + _CTRL_C
_KEPT = 256
# A relay that has been stopped listens for a second for programs that want the raw REPL, before it gives the prompt.
_PATIENCE_S = 2.5
_PROBE_S = 2.0
# For a relay that runs and has much to do.
_ANSWER_S = 0.7
# What a relay takes to come to its console again after a soft reset: the window for Ctrl-C and the radio.
_STARTING_S = 6.0


class Terminal:
    """An open port on which one types, and sees what is printed."""

    def __init__(self, port: str) -> None:
        self._port = port
        self._shown = bytearray()
        self._news = asyncio.Event()
        self._lost: str | None = None
        self._link: SerialLink | None = None

    @classmethod
    async def open(cls, port: str, timeout_s: float) -> "Terminal":
        """Open a port without resetting what is behind it. Raises what `SerialLink.open` raises."""
        terminal = cls(port)
        terminal._link = await SerialLink.open(port, terminal._take, terminal._fail, timeout_s)
        return terminal

    async def __aenter__(self) -> "Terminal":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._link is not None:
            await self._link.close()

    async def prints_after(self, keys: bytes, expected: bytes, timeout_s: float) -> bool:
        """Type keys; whether the board then prints what is expected within timeout_s. Raises DeviceLost."""
        self._shown.clear()
        assert self._link is not None
        self._link.write(keys)
        try:
            async with asyncio.timeout(timeout_s):
                while expected not in self._shown:
                    if self._lost is not None:
                        raise DeviceLost("the device has gone", device=self._port, hint=why_gone(self._port))
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return True

    def _take(self, chunk: bytes) -> None:
        self._shown += chunk
        del self._shown[:-_KEPT]
        self._news.set()

    def _fail(self, reason: str) -> None:
        self._lost = reason
        self._news.set()


async def get_prompt(port: str, timeout_s: float = PROMPT_S) -> None:
    """Stop whatever runs on a board and leave it at MicroPython's prompt; the port is closed again.

    Raises what opening a port raises, DeviceLost, and DeviceTimeout if no prompt comes.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    keys = _STOP
    async with await Terminal.open(port, timeout_s) as terminal:
        while (left := deadline - loop.time()) > 0:
            if await terminal.prints_after(keys, _PROMPT, min(_PATIENCE_S, left)):
                return
            # A board in the raw REPL leaves that with Ctrl-B; the others do not mind.
            keys = _STOP + _CTRL_B
    raise DeviceTimeout(f"no prompt within {timeout_s:g} s", device=port, hint=f"{how_to_reset(port)} and try again")


async def bring_back(port: str, timeout_s: float = RESTART_S) -> bool:
    """Have the relay's program run again on a board that may be at the prompt; False if it ran all the time.

    Raises what opening a port raises, DeviceLost, and DeviceError if the program does not come back.
    """
    if await _runs(port, _ANSWER_S):
        return False
    async with await Terminal.open(port, timeout_s) as terminal:
        # Ctrl-C, not Return: what was typed last must not be run. A relay that is starting gives its prompt for it.
        at_prompt = await terminal.prints_after(_CTRL_C, _PROMPT, _PROBE_S)
    if not at_prompt:
        if await _runs(port, _STARTING_S):
            return False
        await get_prompt(port)
    async with await Terminal.open(port, timeout_s) as terminal:
        # Ctrl-D resets on an empty line only, and behind a program that ran there is what was typed meanwhile.
        await terminal.prints_after(_CTRL_C + _CTRL_D, _SOFT_RESET, _PROBE_S)
    if not await _runs(port, timeout_s):
        raise DeviceError("the relay's program does not start again", device=port, hint=how_to_reset(port))
    return True


async def _runs(port: str, timeout_s: float) -> bool:
    try:
        await (await Console.open(port, timeout_s)).close()
    except (DeviceTimeout, NotARelay):
        return False
    return True
