"""A Mosquitto for the gateways of a lab, on loopback, for as long as the lab is there."""

import asyncio
import getpass
import secrets
import shutil
import socket
from pathlib import Path

from bitrelay.errors import BrokenInstallation, DeviceError, DeviceTimeout

from .gateway_plan import Broker
from .tied_process import TiedProcess

_HOST = "127.0.0.1"
_NAME = "mosquitto"
# Distributions put it where only the administrator's shell looks.
_ALSO_IN = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
_UP_S = 10.0
_LOOK_EVERY_S = 0.05
_KEY_SIZE = 32


def find_mosquitto() -> str:
    """The path of the program. Raises BrokenInstallation if there is none."""
    found = shutil.which(_NAME) or next(filter(None, (shutil.which(_NAME, path=path) for path in _ALSO_IN)), None)
    if found is None:
        raise BrokenInstallation(
            "there is no Mosquitto, the MQTT broker", hint="Install it (apt install mosquitto), or use --engine links"
        )
    return found


async def start_broker(directory: Path) -> tuple[TiedProcess, Broker]:
    """Start one with its files in `directory`, and make a fleet's key. Raises BrokenInstallation, DeviceError,
    DeviceTimeout."""
    program = find_mosquitto()
    port = _free_port()
    config, key = directory / "mosquitto.conf", directory / "fleet.key"
    # As root it would become another user, who cannot get at the lab's files.
    # Without nodelay it holds small messages back for some 40 ms.
    said = (
        f"listener {port} {_HOST}",
        # As docs/mqtt.md says: with fewer it drops frames of a burst without a word.
        "max_queued_messages 10000",
        "max_inflight_messages 100",
        "allow_anonymous true",
        "persistence false",
        "set_tcp_nodelay true",
        f"user {getpass.getuser()}",
    )
    config.write_text("\n".join(said) + "\n")
    key.touch(mode=0o600)
    key.write_text(secrets.token_hex(_KEY_SIZE) + "\n")
    process = await TiedProcess.start((program, "-c", str(config)), directory / "mosquitto.log")
    try:
        await _answers(process, port)
    except BaseException:
        await process.stop()
        raise
    return process, Broker(port, key)


async def watch_broker(process: TiedProcess) -> None:
    """Raises DeviceError when it ends."""
    async for _ in process.lines():
        pass
    raise DeviceError(f"it has ended; the last it said: {process.tail() or 'nothing'}", device=_NAME)


async def _answers(process: TiedProcess, port: int) -> None:
    watching = asyncio.get_running_loop().create_task(watch_broker(process))
    try:
        async with asyncio.timeout(_UP_S):
            while not watching.done():
                try:
                    _, writer = await asyncio.open_connection(_HOST, port)
                except OSError:
                    await asyncio.sleep(_LOOK_EVERY_S)
                    continue
                writer.close()
                return
        watching.result()
    except TimeoutError:
        raise DeviceTimeout(f"it does not listen within {_UP_S:g} s", device=_NAME) from None
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])
