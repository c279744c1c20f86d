"""Which devices there are: USB serial ports, and the ports of virtual boards that a running lab advertises.

A lab writes one file, `lab-<pid>.json`, into a directory of this user's own (mode 0700) and removes it when it ends:

    {"pid": 4711, "boards": [{"name": "relay-1", "port": "/dev/pts/7", "rfc2217": "rfc2217://127.0.0.1:40001",
                              "chip": "esp32c3", "firmware": "/tmp/bitrelay-lab-1/esp32c3.bin"}],
     "radio": "/tmp/bitrelay-lab-1/.hci"}

radio is the socket by which a program gets an adapter on the lab's virtual radio; it may be missing.

The file of a lab that was killed names a process that is gone: whoever reads it next removes it.
"""

import json
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from .boards.chips import CHIPS
from .errors import NoDevice, PortBusy, PortError

HOW_TO_GET_ONE = "Plug a relay in with a data cable, or start virtual ones: ./flash.sh --virtual 3 --keep"

_MAX_LAB_FILE = 1 << 20
# How often a directory that vanishes while it is written to is made again.
_TRIES = 3

_LOOPBACK = re.compile(r"rfc2217://(127\.[0-9.]+|localhost|\[::1\])[:/?]", re.IGNORECASE)
# Of Linux, and of macOS, where terminals are ttys000 and serial ports tty.usbserial-1.
_PSEUDO_TERMINAL = re.compile(r"/dev/(pts/|ttys)[0-9]+$")

# Adapters and chips found on ESP32 boards, by USB vendor and product id.
USB_CHIPS = {
    (0x303A, 0x1001): "ESP32 with USB of its own (C3, C6, S3)",
    (0x303A, 0x4001): "MicroPython on an ESP32 with USB of its own",
    (0x10C4, 0xEA60): "CP210x",
    (0x1A86, 0x7523): "CH340",
    (0x1A86, 0x55D4): "CH9102",
    (0x1A86, 0x55D3): "CH343",
    (0x0403, 0x6001): "FT232",
    (0x0403, 0x6015): "FT231X",
}


@dataclass(frozen=True)
class BoardPort:
    """A virtual board of a running lab: port is its pseudo-terminal, rfc2217 the URL that also carries DTR and RTS.

    firmware is the path of a file that stands in for MicroPython's firmware on its chip, empty if there is none.
    """

    name: str
    port: str
    rfc2217: str
    chip: str = ""
    firmware: str = ""


@dataclass(frozen=True)
class VirtualRadio:
    """The virtual radio of a running lab: socket is where it gives out adapters, boards who is on it."""

    lab: int
    socket: Path
    boards: tuple[BoardPort, ...] = ()


@dataclass(frozen=True)
class Device:
    """Something that may be a relay: kind is "usb" or "virtual".

    url, chip and firmware are known of virtual boards only; see BoardPort.
    """

    port: str
    kind: str
    name: str
    description: str
    serial_number: str = ""
    url: str = ""
    chip: str = ""
    firmware: str = ""


def runtime_dir() -> Path:
    """Where the labs of this user advertise their boards; it need not exist."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "bitrelay"
    return Path(tempfile.gettempdir()) / f"bitrelay-{_user_id()}"


def advertise(boards: Iterable[BoardPort], radio: Path | None = None) -> Path:
    """Write, or replace, the file that tells this process's virtual boards and radio to `bitrelay devices`.

    Raises PortError if the directory belongs to somebody else or cannot be made.
    """
    lab = {"pid": os.getpid(), "boards": [asdict(board) for board in boards], "radio": str(radio) if radio else ""}
    content = json.dumps(lab)
    for _ in range(_TRIES):
        try:
            return _write_lab_file(content)
        except PortError:
            # Another lab that ends takes the directory with it if nothing is in it yet.
            if runtime_dir().exists():
                raise
    return _write_lab_file(content)


def withdraw() -> None:
    """Remove this process's file, and the directory with the last one; harmless when there is none."""
    _lab_file(os.getpid()).unlink(missing_ok=True)
    try:
        runtime_dir().rmdir()
    except OSError:
        pass  # another lab is still in it, or it never was


def virtual_boards() -> list[BoardPort]:
    """The boards of all running labs of this user, in the order of their names; files of dead labs are removed."""
    boards = [board for lab in _labs() for board in lab.boards]
    return sorted(boards, key=lambda board: (board.name, board.port))


def virtual_radios() -> list[VirtualRadio]:
    """The radios of all running labs of this user."""
    return [lab for lab in _labs() if lab.socket != Path()]


def usb_ports() -> list[Device]:
    """The serial ports on USB. Those over Bluetooth and of the mainboard are left out: opening them can hang."""
    from serial.tools import list_ports

    devices = []
    for port in list_ports.comports():
        if port.vid is None:
            continue
        chip = USB_CHIPS.get((port.vid, port.pid), "")
        description = chip or port.product or port.description or ""
        devices.append(
            Device(port.device, "usb", os.path.basename(port.device), description, port.serial_number or "", "")
        )
    return sorted(devices, key=lambda device: device.port)


def mac_in(serial_number: str) -> str:
    """The MAC that a chip with USB of its own has for its serial number, as 12 hex digits; empty for other devices."""
    # Espressif writes it with colons, MicroPython without.
    digits = serial_number.replace(":", "").lower()
    return digits if re.fullmatch("[0-9a-f]{12}", digits) else ""


def usb_port_now(port: str, serial_number: str) -> str:
    """Where a USB device is now that was at `port`: a chip with USB of its own may come back elsewhere after a reset.

    Only the serial numbers of such chips are looked for, which are their MAC; adapters of a kind often share one.
    """
    wanted = mac_in(serial_number)
    if not wanted:
        return port
    same = [device.port for device in usb_ports() if mac_in(device.serial_number) == wanted]
    return port if port in same or not same else same[0]


def list_devices() -> list[Device]:
    """Every device that may be a relay: real boards first, then virtual ones."""
    virtual = [
        Device(b.port, "virtual", b.name, _describe(b), "", b.rfc2217, b.chip, b.firmware) for b in virtual_boards()
    ]
    return usb_ports() + virtual


def choose_port(wanted: str | None) -> str:
    """The port to open for what the user gave: a device, a URL, the name of a virtual board, or nothing.

    With nothing there must be exactly one device. Raises NoDevice with what there is to choose from.
    """
    if wanted:
        named = [board.port for board in virtual_boards() if board.name == wanted]
        if len(named) > 1:
            raise NoDevice(f"{len(named)} virtual boards have this name: {', '.join(named)}", device=wanted)
        return named[0] if named else wanted
    devices = list_devices()
    if len(devices) == 1:
        return devices[0].port
    if not devices:
        raise NoDevice("no device found", hint=HOW_TO_GET_ONE)
    names = ", ".join(f"{device.port} ({device.name})" for device in devices)
    raise NoDevice(f"{len(devices)} devices found: {names}", hint="Choose one with --port")


@contextmanager
def sole_user(url: str, called: str) -> Iterator[None]:
    """While a virtual board's rfc2217:// port is used, keep others off its pseudo-terminal: a real board has one port.

    called: what the user calls it. Raises PortBusy if another program has it. Of other ports nothing is asked.
    """
    import fcntl

    terminal = next((board.port for board in virtual_boards() if board.rfc2217 == url), None)
    try:
        held = os.open(terminal, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK) if terminal else None
    except OSError:
        held = None  # its lab is just ending: whoever opens the port hears of it
    try:
        if held is not None:
            # As pyserial does for a port that is opened exclusively, which all tools around here do.
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise PortBusy(
                    "another program has it open", device=called, hint="Close the other monitor or terminal"
                ) from None
        yield
    finally:
        if held is not None:
            os.close(held)


def is_virtual(port: str) -> bool:
    """Whether a port is of the kind that a lab makes: a pseudo-terminal, or a URL of this machine."""
    if port.startswith("rfc2217://"):
        return _LOOPBACK.match(port) is not None
    # Labs give their pseudo-terminals names, as symbolic links.
    return _PSEUDO_TERMINAL.match(os.path.realpath(port)) is not None


def how_to_reset(port: str) -> str:
    """What the user does to reset the board behind a port, as the beginning of a sentence."""
    return f"Reset it with `mpremote connect {port} reset`" if is_virtual(port) else "Press its reset button"


def why_gone(port: str) -> str:
    """What the user looks at when the board behind a port has gone."""
    if is_virtual(port):
        return "Its lab has ended, or the board was taken out of it. `bitrelay devices` lists what there is"
    return "Is it plugged in and powered? `bitrelay devices` lists what there is"


def _describe(board: BoardPort) -> str:
    kind = CHIPS[board.chip].title if board.chip in CHIPS else "board"
    return f"{kind} of a running lab"


def _user_id() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def _write_lab_file(content: str) -> Path:
    directory = runtime_dir()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PortError(f"cannot make {directory}: {error.strerror}") from error
    if not _is_ours(directory):
        raise PortError(f"{directory} belongs to somebody else or is open to others", hint="Remove it")
    path = _lab_file(os.getpid())
    # Readers must never see half a file.
    fresh = path.with_suffix(".new")
    try:
        fresh.write_text(content, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise PortError(f"cannot write {path}: {error.strerror}") from error
    return path


def _lab_file(pid: int) -> Path:
    return runtime_dir() / f"lab-{pid}.json"


def _is_ours(directory: Path) -> bool:
    # In a shared temporary directory anybody can make a directory of this name first.
    try:
        found = directory.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(found.st_mode):
        return False
    return not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & 0o022)


def _labs() -> list[VirtualRadio]:
    directory = runtime_dir()
    if not _is_ours(directory):
        return []
    labs = (_read_lab(path) for path in sorted(directory.glob("lab-*.json")))
    return [lab for lab in labs if lab is not None]


def _read_lab(path: Path) -> VirtualRadio | None:
    try:
        if path.stat().st_size > _MAX_LAB_FILE:
            return None
        lab = json.loads(path.read_text(encoding="utf-8"))
        pid = int(lab["pid"])
        boards = [
            BoardPort(
                str(b["name"]), str(b["port"]), str(b["rfc2217"]), str(b.get("chip", "")), str(b.get("firmware", ""))
            )
            for b in lab["boards"]
        ]
        radio = Path(str(lab.get("radio", "")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if _is_alive(pid):
        return VirtualRadio(pid, radio, tuple(boards))
    path.unlink(missing_ok=True)
    return None


def _is_alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return pid < 1 << 31
    return True
