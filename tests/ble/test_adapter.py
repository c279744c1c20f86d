"""Whatever is wrong with a computer's Bluetooth, the user is told what and how to go on."""

import asyncio

import pytest
from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakBluetoothNotAvailableReason,
    BleakCharacteristicNotFoundError,
    BleakDBusError,
    BleakDeviceNotFoundError,
    BleakError,
    BleakGATTProtocolError,
)

from bitrelay.ble.adapter import bluetooth_errors
from bitrelay.errors import (
    BadData,
    BitrelayError,
    BluetoothDenied,
    DeviceError,
    DeviceLost,
    DeviceTimeout,
    ExitCode,
    NoBluetooth,
    NotARelay,
)

Reason = BleakBluetoothNotAvailableReason


def unavailable(reason: Reason) -> BleakBluetoothNotAvailableError:
    return BleakBluetoothNotAvailableError("text of the platform", reason)


@pytest.mark.parametrize(
    ("error", "expected", "code", "words"),
    [
        (unavailable(Reason.NO_BLUETOOTH), NoBluetooth, 92, "no Bluetooth adapter"),
        (unavailable(Reason.NO_BLE_CENTRAL_ROLE), NoBluetooth, 92, "Low Energy"),
        (unavailable(Reason.POWERED_OFF), NoBluetooth, 92, "switched off"),
        (unavailable(Reason.UNKNOWN), NoBluetooth, 92, "not available"),
        (unavailable(Reason.DENIED_BY_USER), BluetoothDenied, 93, "may not use"),
        (unavailable(Reason.DENIED_BY_SYSTEM), BluetoothDenied, 93, "may not use"),
        (unavailable(Reason.DENIED_BY_UNKNOWN), BluetoothDenied, 93, "may not use"),
        (BleakDBusError("org.freedesktop.DBus.Error.ServiceUnknown", []), NoBluetooth, 92, "bluetoothd"),
        (BleakDBusError("org.freedesktop.DBus.Error.Spawn.ServiceNotFound", []), NoBluetooth, 92, "bluetoothd"),
        (BleakDBusError("org.freedesktop.DBus.Error.AccessDenied", []), BluetoothDenied, 93, "does not let"),
        (BleakDBusError("org.bluez.Error.NotReady", ["x"]), NoBluetooth, 92, "switched off"),
        (BleakDBusError("org.bluez.Error.Failed", ["br-connection-canceled"]), DeviceError, 69, "canceled"),
        (FileNotFoundError(2, "No such file"), NoBluetooth, 92, "D-Bus"),
        (ConnectionRefusedError(111, "refused"), NoBluetooth, 92, "D-Bus"),
        (EOFError(), NoBluetooth, 92, "D-Bus"),
        (PermissionError(13, "denied"), BluetoothDenied, 93, "D-Bus"),
        (NotImplementedError("this platform"), NoBluetooth, 92, "this platform"),
        (BleakDeviceNotFoundError("F0:1"), DeviceLost, 84, "advertise"),
        (BleakCharacteristicNotFoundError("1234"), NotARelay, 69, "1234"),
        (BleakGATTProtocolError(0x0E), DeviceError, 69, "Unlikely"),
        (BleakError("odd"), DeviceError, 69, "odd"),
        (TimeoutError(), DeviceTimeout, 75, "no answer"),
    ],
    ids=repr,
)
def test_each_failure_has_words_a_code_and_a_way_out(
    error: Exception, expected: type[BitrelayError], code: int, words: str
) -> None:
    with pytest.raises(BitrelayError) as caught, bluetooth_errors("relay"):
        raise error
    assert type(caught.value) is expected
    assert caught.value.exit_code == ExitCode(code)
    assert words in str(caught.value)
    assert caught.value.hint or caught.value.device == "relay" or isinstance(error, NotImplementedError)


def test_our_own_errors_and_cancellation_pass() -> None:
    with pytest.raises(BadData), bluetooth_errors():
        raise BadData("as it was")
    with pytest.raises(asyncio.CancelledError), bluetooth_errors():
        raise asyncio.CancelledError
    with pytest.raises(ZeroDivisionError), bluetooth_errors():
        raise ZeroDivisionError
