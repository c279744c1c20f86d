"""Lets other people's tools use our quick client for rfc2217:// ports: pyserial looks for its handlers here.

`python -m bitrelay.serial_handlers esptool ARGS` runs a tool that way; `install()` does it in this process.
"""

import serial


def install() -> None:
    """From now on serial.serial_for_url("rfc2217://...") gives a QuickRfc2217Port."""
    if __name__ not in serial.protocol_handler_packages:
        serial.protocol_handler_packages.insert(0, __name__)
