"""Asks the relay that runs after flashing who it is, and believes nothing else."""

import asyncio
import re
import time
from dataclasses import dataclass

from bitrelay.console import Console
from bitrelay.errors import (
    BitrelayError,
    DeviceLost,
    DeviceTimeout,
    NoDevice,
    NotARelay,
    NotVerified,
    PortBusy,
    PortError,
)
from bitrelay.ports import how_to_reset, usb_port_now, why_gone
from bitrelay.relay_files import SETTINGS, export_file

from .chips import Chip

_KNOCK_FOR_S = 3.0
_LOOK_AGAIN_S = 0.1


@dataclass(frozen=True)
class Flashed:
    """What must run: chip, mac (12 hex digits), release of MicroPython, build id, the bytes of the settings file."""

    chip: Chip
    mac: str
    micropython: str
    build: str
    settings: bytes


@dataclass(frozen=True)
class Running:
    """What does run, in the relay's own words, and the port it was heard on."""

    port: str
    version: str
    build: str
    unique_id: str


async def read_back(
    port: str, flashed: Flashed, timeout_s: float, *, serial_number: str = "", called: str | None = None
) -> Running:
    """Wait for the relay to start, on this port or wherever the USB device of this serial number appears; compare.

    called: what the user calls the port. Raises NotVerified, with what runs instead, if it is not what was flashed or
    nothing answers within timeout_s, and DeviceLost if there is nothing to ask.
    """
    device = called or port
    deadline = time.monotonic() + timeout_s
    trouble: BitrelayError | None = None
    while (left := deadline - time.monotonic()) > 0:
        here = usb_port_now(port, serial_number)
        try:
            async with await Console.open(here, min(left, _KNOCK_FOR_S)) as console:
                return await _compare(console, flashed)
        except (NoDevice, PortError, DeviceTimeout, NotARelay) as error:
            trouble = error
        await asyncio.sleep(_LOOK_AGAIN_S)
    why = f" ({trouble.what})" if trouble is not None else ""
    if isinstance(trouble, NoDevice | PortError) and not isinstance(trouble, PortBusy):
        raise DeviceLost(
            f"everything is written, and the device has gone before the relay was heard{why}",
            device=device,
            hint=f"{why_gone(device)}. Once it is back: `bitrelay info -p {device}`",
        )
    raise NotVerified(
        f"everything is written, and the relay has not answered within {timeout_s:g} s{why}",
        device=device,
        hint=f"{how_to_reset(device)}, then look with `bitrelay info -p {device}`; if it stays silent, flash it again",
    )


async def _compare(console: Console, flashed: Flashed) -> Running:
    told = console.info
    unique_id = bytes(told.get("unique_id", b"")).hex()
    build = str(told.get("build", ""))
    micropython = str(told.get("micropython", ""))
    problems = []
    if build != flashed.build:
        problems.append(f"program {build or 'without a build id'} runs, not {flashed.build}")
    if unique_id != flashed.mac:
        problems.append(f"board {unique_id or 'without an id'} answers, not {flashed.mac}")
    if not _is_release(micropython, flashed.micropython):
        problems.append(f"MicroPython {micropython or 'unknown'} runs, not {flashed.micropython}")
    if not _is_chip(str(told.get("chip", "")), flashed.chip):
        problems.append(f"it says it is an {told.get('chip') or 'unknown chip'}, not an {flashed.chip.title}")
    if not problems and await export_file(console, SETTINGS) != flashed.settings:
        problems.append("its settings are not those that were written")
    if problems:
        raise NotVerified(
            "what runs is not what was flashed: " + "; ".join(problems),
            device=console.port,
            hint="Flash it again; if that does not help, with --erase",
        )
    return Running(console.port, str(told.get("version", "")), build, unique_id)


def _is_release(told: str, release: str) -> bool:
    return re.search(rf"(?<![0-9.]){re.escape(release)}(?![0-9])", told) is not None


def _is_chip(told: str, chip: Chip) -> bool:
    # "Generic ESP32C3 module with ESP32C3"; Espressif writes it with a hyphen.
    return re.search(rf"\b{chip.name}\b", told.replace("-", "").lower()) is not None
