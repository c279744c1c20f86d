"""The two files of a relay that a host reads and writes over its console: its settings and its identity.

They are raw bytes here; docs/protocol.md, "Serial console", has the messages. A file that is not there has no bytes.
"""

import asyncio
import time
import zlib
from typing import Final

from shared_protocol import console as messages

from .console import Console, Values
from .errors import DeviceError, DeviceLost, DeviceTimeout, NoDevice, PortError, RequestRefused
from .ports import how_to_reset

SETTINGS: Final = messages.SETTINGS
IDENTITY: Final = messages.IDENTITY

# How long a restart takes at most: boot, the window for Ctrl-C, the radio, and USB that appears anew.
RESTART_S: Final = 30.0

# What becomes of settings that can cut the link, if they have and nobody confirms them.
IT_REVERTS: Final = "If its new settings are why, it goes back to the ones before by itself, after some minutes"

_MAX_FILE = 1 << 16
_LOOK_AGAIN_S = 0.1
_UPDATE = "Its firmware is older than this program: update it with `bitrelay flash`"


async def export_file(console: Console, what: str, timeout_s: float = 5.0) -> bytes:
    """The bytes of SETTINGS or IDENTITY; timeout_s is for each piece.

    Raises what `Console.request` raises, and DeviceError if the pieces do not fit together.
    """
    data = bytearray()
    size = None
    while size is None or len(data) < size:
        answer = await _ask(console, messages.EXPORT, {"what": what, "offset": len(data)}, timeout_s)
        piece = bytes(answer.get("data", b""))
        told = int(answer.get("size", -1))
        if size is not None and told != size:
            raise DeviceError("the file changed while it was read", device=console.port, hint="Try again")
        size = told
        fits = answer.get("offset") == len(data) and len(data) + len(piece) <= size <= _MAX_FILE
        if not fits or (not piece and len(data) < size):
            raise DeviceError(f"the relay sent a piece of its {what} that does not fit", device=console.port)
        data += piece
    return bytes(data)


async def import_file(
    console: Console, what: str, data: bytes, *, trial_min: int | None = None, timeout_s: float = 5.0
) -> None:
    """Replace SETTINGS or IDENTITY; it is in force after the next start. No bytes: settings go back to the defaults.

    trial_min: minutes after which settings that can cut the link revert unless confirmed, the relay's choice if None.
    Raises what `Console.request` raises; RequestRefused, whose text says which key and why, leaves all as it was.
    """
    taken = 0
    crc = zlib.crc32(data)
    while True:
        piece = data[taken : taken + messages.PIECE]
        values: Values = {"what": what, "size": len(data), "offset": taken, "data": piece, "crc": crc}
        answer = await _ask(console, messages.IMPORT, values | {"trial_min": trial_min}, timeout_s)
        taken += len(piece)
        if answer.get("offset") != taken or answer.get("size") != len(data):
            raise DeviceError(f"the relay did not take a piece of the {what}", device=console.port, hint="Try again")
        if taken == len(data):
            return


async def restart(console: Console, timeout_s: float = RESTART_S, otherwise: str | None = None) -> Console:
    """Restart the relay, close this console, and return one to the same port once the relay is back there.

    The port may go away meanwhile, as that of a chip with USB of its own does. Raises DeviceTimeout if the relay has
    not started anew within timeout_s, with `otherwise` as the hint, and what `Console.request` raises.
    """
    asked_at = time.monotonic()
    try:
        await console.request(messages.REBOOT)
    except (DeviceLost, DeviceTimeout):
        pass  # it went down before its answer was out: whether it starts anew is what counts
    await console.close()
    restarted = await _reconnect(console.port, asked_at, asked_at + timeout_s)
    if restarted is None:
        raise DeviceTimeout(
            f"the relay has not come back within {timeout_s:g} s of its restart",
            device=console.port,
            hint=otherwise or f"{how_to_reset(console.port)} and try again",
        )
    return restarted


def has_restarted(uptime_s: int, seconds_since: float) -> bool:
    """Whether a relay that is up for so many whole seconds was started within the seconds since it was asked to."""
    return uptime_s <= seconds_since


async def _reconnect(port: str, asked_at: float, deadline: float) -> Console | None:
    while (left := deadline - time.monotonic()) > 0:
        try:
            console = await Console.open(port, left)
        except (NoDevice, PortError, DeviceTimeout):
            pass  # its port is gone for the moment, or it is still starting
        else:
            if has_restarted(int(console.info.get("uptime_s", 0)), time.monotonic() - asked_at):
                return console
            await console.close()
        await asyncio.sleep(_LOOK_AGAIN_S)
    return None


async def _ask(console: Console, kind: int, values: Values, timeout_s: float) -> Values:
    try:
        return await console.request(kind, values, timeout_s)
    except RequestRefused as error:
        if error.code == "unknown":
            error.hint = _UPDATE
        raise
