"""The computer's Bluetooth, by bleak; what bleak says when it cannot becomes an error of ours with a way out."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bleak.backends.client import BaseBleakClient
from bleak.backends.scanner import BaseBleakScanner
from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakBluetoothNotAvailableReason,
    BleakCharacteristicNotFoundError,
    BleakDBusError,
    BleakDeviceNotFoundError,
    BleakError,
)

from ..errors import BitrelayError, BluetoothDenied, DeviceError, DeviceLost, DeviceTimeout, NoBluetooth, NotARelay

_IS_MACOS = sys.platform == "darwin"
_ALLOW = (
    "Allow it in System Settings, Privacy & Security, Bluetooth"
    if _IS_MACOS
    else "Add your user to the group bluetooth (sudo usermod -aG bluetooth $USER) and log in again"
)
_SWITCH_ON = (
    "Switch it on in System Settings"
    if _IS_MACOS
    else "Switch it on: bluetoothctl power on (or rfkill unblock bluetooth)"
)
_START_BUS = (
    "Start it (Debian, Ubuntu: sudo apt install bluez dbus); a container needs the socket /run/dbus/system_bus_socket "
    "of its host"
)
RESTART = (
    "Switch Bluetooth off and on in System Settings"
    if _IS_MACOS
    else "Restart it: sudo systemctl restart bluetooth (a lab's radio: end the lab and start it again)"
)
_START = "Start it: sudo systemctl start bluetooth (Debian, Ubuntu: sudo apt install bluez)"

_REASONS = {
    BleakBluetoothNotAvailableReason.NO_BLUETOOTH: ("there is no Bluetooth adapter", "Plug one in"),
    BleakBluetoothNotAvailableReason.NO_BLE_CENTRAL_ROLE: (
        "the Bluetooth adapter cannot do Bluetooth Low Energy as a central",
        "Plug in one of Bluetooth 4.0 or newer",
    ),
    BleakBluetoothNotAvailableReason.POWERED_OFF: ("Bluetooth is switched off", _SWITCH_ON),
    BleakBluetoothNotAvailableReason.UNKNOWN: ("Bluetooth is not available", _SWITCH_ON),
}
_DENIED = (
    BleakBluetoothNotAvailableReason.DENIED_BY_USER,
    BleakBluetoothNotAvailableReason.DENIED_BY_SYSTEM,
    BleakBluetoothNotAvailableReason.DENIED_BY_UNKNOWN,
)
_NOT_SERVED = (
    "org.freedesktop.DBus.Error.ServiceUnknown",
    "org.freedesktop.DBus.Error.NameHasNoOwner",
    "org.freedesktop.DBus.Error.Spawn",
)
_REFUSED = ("org.freedesktop.DBus.Error.AccessDenied", "org.bluez.Error.NotAuthorized")
_NOT_READY = "org.bluez.Error.NotReady"


@dataclass(frozen=True)
class Adapter:
    """A Bluetooth adapter to work with: bleak's backends for it, by default those of this computer."""

    name: str = "bluetooth"
    scanner: type[BaseBleakScanner] | None = None
    client: type[BaseBleakClient] | None = None


@contextmanager
def bluetooth_errors(device: str | None = None) -> Iterator[None]:
    """Turn what bleak raises into NoBluetooth, BluetoothDenied, DeviceTimeout, DeviceLost, NotARelay or DeviceError."""
    try:
        yield
    except BitrelayError:
        raise
    except TimeoutError as error:
        raise DeviceTimeout("no answer over Bluetooth", device=device, hint="Is it in reach?") from error
    except (BleakError, OSError, EOFError, NotImplementedError, ImportError) as error:
        raise _translated(error, device) from error


def _translated(error: Exception, device: str | None) -> BitrelayError:
    match error:
        case BleakBluetoothNotAvailableError() if error.reason in _DENIED:
            return BluetoothDenied("this program may not use Bluetooth", hint=_ALLOW)
        case BleakBluetoothNotAvailableError():
            return NoBluetooth(_REASONS[error.reason][0], hint=_REASONS[error.reason][1])
        case BleakDBusError() if error.dbus_error.startswith(_NOT_SERVED):
            return NoBluetooth("the Bluetooth service (bluetoothd) does not run", hint=_START)
        case BleakDBusError() if error.dbus_error in _REFUSED:
            return BluetoothDenied("the system does not let this user use Bluetooth", hint=_ALLOW)
        case BleakDBusError() if error.dbus_error == _NOT_READY:
            return NoBluetooth("Bluetooth is switched off", hint=_SWITCH_ON)
        case BleakDeviceNotFoundError():
            return DeviceLost("it does not advertise any more", device=device)
        case BleakCharacteristicNotFoundError():
            return NotARelay(f"it lacks a part of the BitCraps service: {error.char_specifier}", device=device)
        case BleakError():
            return DeviceError(f"Bluetooth failed: {error}", device=device)
        case PermissionError():
            return BluetoothDenied("the system's message bus (D-Bus) does not let this user in", hint=_ALLOW)
        case OSError() | EOFError():
            return NoBluetooth(
                "the system's message bus (D-Bus), by which Bluetooth is reached, does not run", hint=_START_BUS
            )
        case _:
            return NoBluetooth(f"bleak does not know this system: {error}")
