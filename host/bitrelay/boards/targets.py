"""Which boards there are to flash, and what is in the way if there is none."""

import grp
import os
import sys
from dataclasses import replace
from pathlib import Path

from bitrelay.errors import NoDevice, PortError
from bitrelay.ports import USB_CHIPS, Device, is_virtual, list_devices

from .job import Target

_SYSFS = Path("/sys/bus/usb/devices")
_VIRTUAL = "or try it without one: ./flash.sh --virtual 3"


def targets() -> list[Target]:
    """Every board that could be flashed now. Ports over Bluetooth are not among them."""
    return [_target(device) for device in list_devices()]


def named_target(port: str) -> Target:
    """The board behind what the user calls its port: a device, a URL, or the name of a virtual board.

    Raises NoDevice if several virtual boards have that name, PortError for a port that this user may not open.
    """
    named = [device for device in list_devices() if port in (device.port, device.url, device.name)]
    real = os.path.realpath(port) if "://" not in port else port
    named = named or [device for device in list_devices() if os.path.realpath(device.port) == real]
    if len(named) > 1:
        raise NoDevice(f"{len(named)} boards have this name: {', '.join(d.port for d in named)}", device=port)
    target = replace(_target(named[0]), port=port) if named else Target(port, port, virtual=is_virtual(port))
    demand_access(target)
    return target


def demand_access(target: Target) -> None:
    """Raise PortError, with the group to join, if this user may not open the port."""
    if "://" in target.url or not os.path.exists(target.url) or os.access(target.url, os.R_OK | os.W_OK):
        return
    group = _group(target.url)
    raise PortError(
        f"you may not open it: that takes the group {group}",
        device=target.port,
        hint=f"sudo usermod -aG {group} $USER, then log out and in again",
    )


def no_board(sysfs: Path = _SYSFS, platform: str = sys.platform) -> NoDevice:
    """The error for there being no board at all: what to plug in, what may be missing, where there are virtual ones."""
    hints = ["Plug in an ESP32, ESP32-C3, ESP32-S3 or ESP32-C6 with a cable that carries data (many only charge)"]
    driverless = _without_port(sysfs)
    if driverless:
        what = f"no board found, but a {driverless[0]} is plugged in that has no serial port"
        hints = ["Its driver is missing or something else took it; on Ubuntu that is brltty: sudo apt remove brltty"]
    else:
        what = "no board found"
        if platform == "darwin":
            hints.append(
                "If it is plugged in, macOS may lack the driver of its adapter: CP210x (silabs.com), CH340 (wch.cn)"
            )
    return NoDevice(what, hint=". ".join([*hints, _VIRTUAL[0].upper() + _VIRTUAL[1:]]))


def which_board(found: list[Target]) -> NoDevice:
    """The error for there being several boards and nobody to ask."""
    names = ", ".join(target.port for target in found)
    return NoDevice(f"{len(found)} boards found: {names}", hint="Choose with --port, or take --all")


def _target(device: Device) -> Target:
    stand_in = Path(device.firmware) if device.firmware else None
    virtual = device.kind == "virtual"
    what = f"{device.name}, {device.description}" if virtual else device.description
    return Target(device.port, device.url or device.port, device.serial_number, virtual, stand_in, what)


def _group(path: str) -> str:
    number = os.stat(path).st_gid
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _without_port(sysfs: Path) -> list[str]:
    # Adapters that Linux sees on the bus and has made no serial port for.
    found = []
    for vendor in sorted(sysfs.glob("*/idVendor")):
        try:
            ids = int(vendor.read_text(), 16), int((vendor.parent / "idProduct").read_text(), 16)
        except (OSError, ValueError):
            continue
        ports = [*vendor.parent.glob("*/tty*"), *vendor.parent.glob("*/tty/tty*")]
        if ids in USB_CHIPS and not ports:
            found.append(USB_CHIPS[ids])
    return found
