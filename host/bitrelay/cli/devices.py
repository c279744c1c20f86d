"""`bitrelay devices`: what could be talked to."""

from dataclasses import asdict

from ..ports import HOW_TO_GET_ONE, list_devices
from .options import JsonFlag
from .output import reporting


def devices(json: JsonFlag = False) -> None:
    """List the devices that may be relays: USB serial ports and the virtual boards of running labs.

    Ports are not opened for it. Serial ports over Bluetooth are left out.
    """
    with reporting(json) as out:
        found = list_devices()
        if json:
            out.record([asdict(device) for device in found])
        elif not found:
            out.line(f"No device found. {HOW_TO_GET_ONE}.")
        else:
            rows = [(d.name, d.port, d.kind, d.description, d.url) for d in found]
            out.table(("name", "port", "kind", "what it is", "also as"), rows)
