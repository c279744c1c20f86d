"""Which devices are found, and which one is meant."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from bitrelay import ports
from bitrelay.errors import NoDevice, PortBusy, PortError
from bitrelay.ports import BoardPort

BOARDS = [
    BoardPort("relay-2", "/dev/pts/98", "rfc2217://127.0.0.1:4002"),
    BoardPort("relay-1", "/dev/pts/97", "rfc2217://127.0.0.1:4001"),
]


def usb(device: str, vid: int | None, pid: int | None = None, product: str = "") -> ListPortInfo:
    info = ListPortInfo(device, skip_link_detection=True)
    info.vid, info.pid, info.product, info.serial_number = vid, pid, product, "0001"
    return info


@pytest.fixture(autouse=True)
def empty_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(list_ports, "comports", list)


def test_what_a_lab_advertises_is_found_until_it_withdraws() -> None:
    path = ports.advertise(BOARDS)
    assert [board.name for board in ports.virtual_boards()] == ["relay-1", "relay-2"]
    assert [(device.kind, device.port, device.url) for device in ports.list_devices()] == [
        ("virtual", "/dev/pts/97", "rfc2217://127.0.0.1:4001"),
        ("virtual", "/dev/pts/98", "rfc2217://127.0.0.1:4002"),
    ]
    ports.withdraw()
    assert ports.virtual_boards() == []
    assert not path.parent.exists()
    ports.withdraw()


@pytest.mark.parametrize("step", ["mkdir", "write_text", "replace"])
def test_a_lab_that_ends_while_another_begins_is_not_in_its_way(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    # What the other lab does between this one's steps: it removes the directory, which is still empty.
    real = getattr(Path, step)
    ended = []

    def after_the_other_has_ended(path: Path, *args: object, **options: object) -> object:
        if step == "mkdir":
            real(path, *args, **options)
        if not ended:
            ended.append(path)
            shutil.rmtree(ports.runtime_dir())
        return None if step == "mkdir" else real(path, *args, **options)

    monkeypatch.setattr(Path, step, after_the_other_has_ended)
    ports.advertise(BOARDS)
    assert ended and len(ports.virtual_boards()) == 2


def test_the_directory_is_for_its_owner_alone() -> None:
    assert ports.advertise(BOARDS).parent.stat().st_mode & 0o777 == 0o700


def test_without_a_runtime_directory_the_temporary_one_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ports.advertise(BOARDS)
    assert ports.runtime_dir() == tmp_path / f"bitrelay-{os.getuid()}"
    assert len(ports.virtual_boards()) == 2


def test_the_file_of_a_dead_lab_is_ignored_and_removed() -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    path = ports.advertise(BOARDS).with_name(f"lab-{dead.pid}.json")
    path.write_text(json.dumps({"pid": dead.pid, "boards": [{"name": "x", "port": "/dev/x", "rfc2217": ""}]}))
    assert len(ports.virtual_boards()) == 2
    assert not path.exists()


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"pid": "x", "boards": []}', '{"pid": 1}', '{"pid": -1, "boards": []}',
     '{"pid": 1, "boards": [{"name": 1}]}', '{"pid": 1e99, "boards": []}', '{"pid": 99999999999999, "boards": []}'],
)  # fmt: skip
def test_a_file_that_is_none_of_ours_breaks_nothing(content: str) -> None:
    ports.advertise(BOARDS).with_name("lab-1.json").write_text(content)
    assert len(ports.virtual_boards()) == 2


def test_a_directory_others_can_write_to_is_not_believed() -> None:
    ports.advertise(BOARDS).parent.chmod(0o777)
    assert ports.virtual_boards() == []
    with pytest.raises(PortError, match="open to others"):
        ports.advertise(BOARDS)


def test_a_link_in_the_place_of_the_directory_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    ports.runtime_dir().symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PortError):
        ports.advertise(BOARDS)


def test_usb_ports_are_listed_and_bluetooth_ports_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        usb("/dev/ttyUSB0", 0x10C4, 0xEA60, "CP2102 USB to UART Bridge"),
        usb("/dev/ttyACM0", 0x303A, 0x1001),
        usb("/dev/cu.Bluetooth-Incoming-Port", None),
        usb("/dev/ttyS0", None),
        usb("/dev/ttyACM1", 0x1234, 0x5678, "A thing"),
    ]
    monkeypatch.setattr(list_ports, "comports", lambda: found)
    assert [(device.name, device.description) for device in ports.usb_ports()] == [
        ("ttyACM0", "ESP32 with USB of its own (C3, C6, S3)"),
        ("ttyACM1", "A thing"),
        ("ttyUSB0", "CP210x"),
    ]


def test_the_only_device_is_chosen() -> None:
    ports.advertise(BOARDS[:1])
    assert ports.choose_port(None) == "/dev/pts/98"


def test_among_several_the_user_must_choose() -> None:
    ports.advertise(BOARDS)
    with pytest.raises(NoDevice, match="/dev/pts/97") as several:
        ports.choose_port(None)
    assert several.value.hint == "Choose one with --port"


def test_none_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(NoDevice, match="no device found"):
        ports.choose_port(None)


def test_a_virtual_board_is_known_by_its_name() -> None:
    ports.advertise(BOARDS)
    assert ports.choose_port("relay-2") == "/dev/pts/98"
    assert ports.choose_port("/dev/ttyUSB3") == "/dev/ttyUSB3"


def test_a_name_that_two_boards_have_is_no_choice() -> None:
    ports.advertise([BoardPort("relay-1", "/dev/pts/1", ""), BoardPort("relay-1", "/dev/pts/2", "")])
    with pytest.raises(NoDevice, match="/dev/pts/1, /dev/pts/2"):
        ports.choose_port("relay-1")


@pytest.mark.parametrize(
    ("port", "virtual"),
    [
        ("/dev/pts/7", True),
        ("/dev/ttys004", True),
        ("rfc2217://127.0.0.1:40001", True),
        ("rfc2217://localhost:40001", True),
        ("rfc2217://[::1]:40001", True),
        ("rfc2217://192.168.1.7:4000", False),
        ("/dev/ttyUSB0", False),
        ("/dev/ttyS0", False),
        ("/dev/cu.usbserial-1", False),
        ("COM3", False),
    ],
)
def test_hints_are_for_the_kind_of_board(port: str, virtual: bool) -> None:
    assert ports.is_virtual(port) is virtual
    assert ("mpremote" in ports.how_to_reset(port)) is virtual
    assert ("plugged in" in ports.why_gone(port)) is not virtual


def test_a_virtual_board_whose_terminal_is_in_use_is_busy_on_its_other_port(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = os.openpty()
    board = BoardPort("roof", os.ttyname(slave), "rfc2217://127.0.0.1:5")
    monkeypatch.setattr(ports, "virtual_boards", lambda: [board])
    try:
        with ports.sole_user(board.rfc2217, "roof"):
            pass
        fcntl.flock(slave, fcntl.LOCK_EX)
        with pytest.raises(PortBusy, match="another program has it open"), ports.sole_user(board.rfc2217, "roof"):
            pass
        with ports.sole_user("/dev/ttyUSB0", "/dev/ttyUSB0"):
            pass
    finally:
        os.close(slave)
        os.close(master)
