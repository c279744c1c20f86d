"""A chip with USB of its own is found again after a reset, whatever its port is called then."""

import pytest

from bitrelay import ports
from bitrelay.ports import Device, mac_in, usb_port_now

MAC = "240ac4c0ffee"


@pytest.fixture
def plugged_in(monkeypatch: pytest.MonkeyPatch) -> list[Device]:
    devices: list[Device] = []
    monkeypatch.setattr(ports, "usb_ports", lambda: devices)
    return devices


def device(port: str, serial_number: str) -> Device:
    return Device(port, "usb", port, "", serial_number)


@pytest.mark.parametrize(
    "serial_number, mac", [("24:0A:C4:C0:FF:EE", MAC), ("240ac4c0ffee", MAC), ("0001", ""), ("", ""), ("5&1234", "")]
)
def test_the_serial_number_of_a_chip_is_its_mac(serial_number: str, mac: str) -> None:
    assert mac_in(serial_number) == mac


def test_a_device_that_stayed_is_where_it_was(plugged_in: list[Device]) -> None:
    plugged_in += [device("/dev/ttyACM0", "24:0A:C4:C0:FF:EE"), device("/dev/ttyACM1", MAC)]
    assert usb_port_now("/dev/ttyACM1", MAC) == "/dev/ttyACM1"


def test_a_device_that_moved_is_found_by_its_mac(plugged_in: list[Device]) -> None:
    plugged_in += [device("/dev/ttyACM3", "24:0A:C4:C0:FF:EF"), device("/dev/ttyACM4", "24:0A:C4:C0:FF:EE")]
    assert usb_port_now("/dev/ttyACM0", MAC) == "/dev/ttyACM4"


def test_a_device_that_is_away_is_waited_for_where_it_was(plugged_in: list[Device]) -> None:
    assert usb_port_now("/dev/ttyACM0", MAC) == "/dev/ttyACM0"


def test_an_adapter_is_never_taken_for_another_with_the_same_number(plugged_in: list[Device]) -> None:
    plugged_in += [device("/dev/ttyUSB1", "0001")]
    assert usb_port_now("/dev/ttyUSB0", "0001") == "/dev/ttyUSB0"
