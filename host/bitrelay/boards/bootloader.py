"""A board's serial bootloader, by way of esptool: what is on its flash, and putting something else there.

Everything here blocks, so it runs in a process of its own: session.py. esptool is imported late, because the process
that only handles the errors does without.
"""

import re
import termios
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bitrelay.errors import DeviceError, DeviceLost, NoBootloader, WrongChip
from bitrelay.ports import why_gone
from bitrelay.serial_link import open_port

# Called with the bytes that are done and how many there are.
OnProgress = Callable[[int, int], None]

ROM_BAUD = 115_200

# esptool has so many ways of resetting, over a network and on a cable; each is tried once.
_WAYS_OVER_RFC2217, _WAYS = 2, 4
_STARTS_WITHIN_S = 0.3
_RESET_S = 0.1
_CHECKS_OF_BAUD = 2
_ANSWER_S = 0.5
_READ_AT_ONCE = 1 << 16
# What esptool refuses before it sends anything; sending it slower would not help.
_REFUSED = re.compile(r"force|will not fit|chip revision|Secure Boot|encrypt", re.IGNORECASE)


class TransferFailed(DeviceError):
    """Raised when what the bootloader sent or got was not what it should be; slower it may go."""


@dataclass(frozen=True)
class Found:
    """What answers: title as Espressif prints the chip, mac as 12 hex digits, flash_size in bytes."""

    title: str
    mac: str
    flash_size: int


class Bootloader:
    """An open bootloader with esptool's stub running; made by `connect`."""

    def __init__(self, port: str, esp: Any) -> None:
        self._port = port
        self._esp = esp

    @classmethod
    def connect(cls, port: str, *, reset: bool = True) -> "Bootloader":
        """Open a port, get the chip behind it into its bootloader and load the stub.

        reset False: by somebody's fingers, not by DTR and RTS. Raises NoDevice, PortError, NoBootloader, DeviceLost,
        TransferFailed.
        """
        from esptool import cmds
        from esptool.util import FatalError

        opened = open_port(port)
        try:
            with _told_as_ours(port):
                try:
                    esp = cmds.detect_chip(
                        opened,
                        ROM_BAUD,
                        "default-reset" if reset else "no-reset",
                        connect_attempts=_WAYS_OVER_RFC2217 if port.startswith("rfc2217:") else _WAYS,
                    )
                except FatalError as error:
                    raise NoBootloader(_why_not(error), device=port) from None
                # Its own way of going on when a port vanishes takes half a minute; ours is another run.
                esp = cmds.run_stub(esp)
                esp.WRITE_FLASH_ATTEMPTS = 1
                _demand_open_chip(port, esp)
                cmds.attach_flash(esp)
        except BaseException:
            _start_again(opened)
            opened.close()
            raise
        return cls(port, esp)

    def look(self) -> Found:
        """What board this is. Raises DeviceError if its flash does not say how large it is."""
        from esptool import cmds
        from esptool.util import flash_size_bytes

        with _told_as_ours(self._port):
            mac = bytes(self._esp.read_mac("BASE_MAC"))[:6].hex()
            size = cmds.detect_flash_size(self._esp)
        if size is None:
            raise DeviceError(
                "its flash chip does not answer, or with a size nobody knows",
                device=self._port,
                hint="Take everything off its pins and try again",
            )
        return Found(str(self._esp.CHIP_NAME), mac, int(flash_size_bytes(size)))

    def change_baud(self, baud: int) -> None:
        """Go on at another rate. Raises TransferFailed if nothing is understood at that rate."""
        if baud == self._esp.get_baud():
            return
        from esptool.util import FatalError

        with _told_as_ours(self._port):
            self._esp.change_baud(baud)
            for attempt in range(_CHECKS_OF_BAUD):
                try:
                    self._esp.read_reg(self._esp.CHIP_DETECT_MAGIC_REG_ADDR, timeout=_ANSWER_S)
                    return
                except FatalError:
                    if attempt + 1 == _CHECKS_OF_BAUD:
                        raise
                    self._esp.flush_input()

    def read(self, offset: int, size: int, on_progress: OnProgress = lambda done, total: None) -> bytes:
        """The bytes of a part of the flash."""
        data = bytearray()
        with _told_as_ours(self._port):
            while len(data) < size:
                data += self._esp.read_flash(offset + len(data), min(_READ_AT_ONCE, size - len(data)))
                on_progress(len(data), size)
        return bytes(data)

    def md5(self, offset: int, size: int) -> str:
        """The MD5 of a part of the flash, in hex, computed on the board."""
        with _told_as_ours(self._port):
            return str(self._esp.flash_md5sum(offset, size))

    def erase(self, offset: int, size: int) -> None:
        """Erase whole sectors."""
        with _told_as_ours(self._port):
            self._esp.erase_region(offset, size)

    def erase_all(self) -> None:
        """Erase the whole flash; takes up to two minutes."""
        from esptool import cmds

        with _told_as_ours(self._port):
            cmds.erase_flash(self._esp)

    def write(self, parts: Iterable[tuple[int, bytes]], on_progress: OnProgress = lambda done, total: None) -> None:
        """Write (offset, bytes) in this order; each is compared by its MD5. Raises TransferFailed, WrongChip.

        WrongChip if esptool refuses the image for this chip or its revision.
        """
        from esptool import cmds

        from .esptool_log import heard

        every = list(parts)
        sizes = [len(data) for _, data in every]
        part, last = 0, 0.0

        def share_written(share: float) -> None:
            nonlocal part, last
            if share <= last:
                part += 1
            last = share
            on_progress(int(sum(sizes[:part]) + share * sum(sizes[part : part + 1])), sum(sizes))

        # One call, so that an image for another chip is refused before the first byte is written.
        with _told_as_ours(self._port), heard(share_written):
            cmds.write_flash(self._esp, every)

    def leave(self) -> bool:
        """Start what is on the flash. False if the chip stays in its bootloader until somebody presses its button."""
        esp = self._esp
        try:
            esp.hard_reset()
            if self._has_left():
                return True
            if esp.WATCHDOG_RESET_SUPPORTED:
                esp.watchdog_reset()
                return self._has_left()
        except (OSError, termios.error):
            return True  # USB of the chip's own goes away with its reset
        return False

    def close(self) -> None:
        """Let go of the port; harmless when repeated, or when it has gone."""
        try:
            self._esp._port.close()
        except (OSError, ValueError):
            pass

    def _has_left(self) -> bool:
        # A ROM says something as it starts. Where it does not, a bootloader would answer.
        from esptool.util import FatalError

        port = self._esp._port
        end = time.monotonic() + _STARTS_WITHIN_S
        while time.monotonic() < end:
            if port.in_waiting:
                return True
            time.sleep(0.01)
        try:
            self._esp.sync()
        except FatalError:
            return True
        return False


def _start_again(opened: Any) -> None:
    # Whoever gives up half way must not leave a board waiting in its bootloader.
    try:
        opened.dtr = False
        opened.rts = True
        time.sleep(_RESET_S)
        opened.rts = False
    except (OSError, ValueError, termios.error):
        pass  # it is gone, or has no such lines


def _demand_open_chip(port: str, esp: Any) -> None:
    problem = None
    if esp.secure_download_mode:
        problem = "it only takes signed downloads (secure download mode)"
    elif esp.get_flash_encryption_enabled():
        problem = "its flash is encrypted"
    elif esp.get_secure_boot_enabled():
        problem = "it only starts signed programs (secure boot)"
    if problem:
        raise DeviceError(
            f"this chip is locked: {problem}", device=port, hint="That cannot be undone; use another board"
        )


@contextmanager
def _told_as_ours(port: str) -> Iterator[None]:
    # esptool's errors, and those of pyserial that it lets through, as ours.
    from esptool.util import FatalError

    try:
        yield
    except FatalError as error:
        text = _first_line(error)
        if _REFUSED.search(text):
            raise WrongChip(_without_force(text), device=port) from None
        raise TransferFailed(text, device=port) from None
    except (OSError, termios.error):  # SerialException is an OSError
        raise DeviceLost("the device has gone", device=port, hint=why_gone(port)) from None


def _why_not(error: Exception) -> str:
    text = _first_line(error)
    if "Wrong boot mode" in text:
        return "the board starts its program instead of its bootloader"
    if "getting no sync reply" in text:
        return "the bootloader speaks, and does not hear this computer: its receiving line is broken or taken"
    if "Failed to autodetect" in text or "Unexpected chip" in text:
        return "a chip answers that is none of those we know"
    return "the board does not enter its bootloader"


def _first_line(error: Exception) -> str:
    return " ".join(str(error).partition("\nFor troubleshooting")[0].split())


def _without_force(text: str) -> str:
    return re.sub(r"\s*[^.]*\bforce\b[^.]*\.?", "", text, flags=re.IGNORECASE).strip() or "esptool refuses this image"
