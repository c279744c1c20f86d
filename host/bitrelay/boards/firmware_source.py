"""Where the MicroPython for a board comes from: a file of the user's, the cache, or micropython.org.

Nothing is used whose size and SHA-256 are not those of the board's file, except a file that the user names and that is
not called like the pinned one.
"""

import hashlib
import http.client
import os
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bitrelay.errors import BadData, BitrelayError, DiskFull, FirmwareMismatch, NoFirmware, PortError
from bitrelay.whole_file import write_whole

from .catalog import BoardModel, FirmwarePin

# Called with the bytes that have come and how many there will be, 0 if that is not known.
OnProgress = Callable[[int, int], None]

# No build of MicroPython for these chips comes near it; whatever sends more sends something else.
MAX_FIRMWARE = 16 << 20

_STALLED_S = 30.0
_DEADLINE_S = 900.0
_CHUNK = 1 << 16
_SHOWN = 16


class FirmwareSource:
    """Finds firmware; `stop` ends a download that is under way in another thread."""

    def __init__(self, cache: Path | None = None) -> None:
        self.cache = cache or cache_dir()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let a download end soon, with NoFirmware."""
        self._stopped.set()

    def pinned(self, board: BoardModel, on_progress: OnProgress = lambda done, total: None) -> bytes:
        """The firmware that the board's file names, from the cache or else from where it is published. Blocks.

        Raises NoFirmware (no network and no cache), FirmwareMismatch, DiskFull.
        """
        pin = board.firmware
        cached = self.cache / pin.file_name
        damaged = None
        if cached.exists():
            data = read_file(cached)
            damaged = mismatch(pin, data)
            if damaged is None:
                return data
        try:
            data = self._download(pin, on_progress)
        except NoFirmware as error:
            if damaged is None:
                raise
            raise FirmwareMismatch(
                f"{cached} {damaged}, and it cannot be downloaded again ({error.what})",
                hint=f"Remove that file and try again with a network, or give --firmware FILE. {_whose(board)}",
            ) from None
        wrong = mismatch(pin, data)
        if wrong is not None:
            raise FirmwareMismatch(f"what came from {pin.url} {wrong}", hint=_whose(board))
        self._keep(cached, data)
        return data

    def _keep(self, path: Path, data: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PortError(f"cannot make {path.parent}: {error.strerror}") from None
        try:
            write_whole(path, data, replace=True)
        except DiskFull as error:
            error.hint = "Make room, or set XDG_CACHE_HOME to a folder on another disk, then run it again"
            raise

    def _download(self, pin: FirmwarePin, on_progress: OnProgress) -> bytes:
        try:
            return self._fetch(pin, on_progress)
        except urllib.error.HTTPError as error:
            why = f"the server answers {error.code} {error.reason}"
        except urllib.error.URLError as error:
            why = _reason(error.reason)
        except (OSError, ValueError, http.client.HTTPException) as error:  # timeouts, broken connections, odd answers
            why = _reason(error)
        raise _no_firmware(pin, self.cache, why)

    def _fetch(self, pin: FirmwarePin, on_progress: OnProgress) -> bytes:
        request = urllib.request.Request(pin.url, headers={"User-Agent": "bitrelay"})
        bound = pin.size or MAX_FIRMWARE
        end = time.monotonic() + _DEADLINE_S
        data = bytearray()
        with urllib.request.urlopen(request, timeout=_STALLED_S) as answer:
            announced = int(answer.headers.get("Content-Length") or 0)
            total = pin.size or announced
            while chunk := answer.read(_CHUNK):
                data += chunk
                # Whatever is beyond the bound cannot be what was pinned, and is not worth waiting for.
                if len(data) > bound:
                    break
                if self._stopped.is_set():
                    raise OSError("stopped")
                if time.monotonic() > end:
                    raise OSError(f"it took more than {_DEADLINE_S / 60:g} minutes")
                on_progress(len(data), total)
        if len(data) < min(announced, bound):
            raise OSError(f"it broke off after {len(data):,} of {announced:,} bytes")
        return bytes(data)


def cache_dir() -> Path:
    """Where downloaded firmware is kept: XDG_CACHE_HOME/bitrelay/firmware, in ~/.cache by default."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "bitrelay" / "firmware"


def own_file(path: Path, board: BoardModel) -> tuple[bytes, bool]:
    """The bytes of a firmware file that the user names, and whether it is the pinned one.

    Raises FirmwareMismatch for a file that is called like the pinned one and is not, BadData if it cannot be read.
    """
    data = read_file(path)
    wrong = mismatch(board.firmware, data)
    if wrong is None:
        return data, True
    if path.name == board.firmware.file_name:
        raise FirmwareMismatch(
            f"{path} {wrong}", hint=f"{_whose(board)} If you are sure of your copy, give it under another name"
        )
    return data, False


def read_file(path: Path) -> bytes:
    """A firmware file as it is. Raises BadData if it cannot be read or is larger than any firmware."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FIRMWARE + 1)
    except OSError as error:
        raise BadData(f"cannot read {path}: {error.strerror}") from None
    if len(data) > MAX_FIRMWARE:
        raise BadData(f"{path} is larger than any firmware for these boards")
    return data


def mismatch(pin: FirmwarePin, data: bytes) -> str | None:
    """How data differs from what is pinned, as the rest of a sentence about it; None if it does not."""
    if pin.size is not None and len(data) != pin.size:
        # Of a download that is longer only the beginning was taken.
        has = f"{len(data):,}" if len(data) < pin.size else f"more than {pin.size:,}"
        return f"has {has} bytes, not {pin.size:,}"
    digest = hashlib.sha256(data).hexdigest()
    if digest == pin.sha256:
        return None
    return f"has the SHA-256 {digest[:_SHOWN]}..., not {pin.sha256[:_SHOWN]}..."


def _whose(board: BoardModel) -> str:
    pin = board.firmware
    return (
        f"{board.file.name} names the file with SHA-256 {pin.sha256}, on the word of {pin.source}: "
        "so the file or that word is wrong."
    )


def _no_firmware(pin: FirmwarePin, cache: Path, why: str) -> BitrelayError:
    return NoFirmware(
        f"{pin.file_name} is not in the cache and cannot be downloaded: {why}",
        hint=f"Get it from {pin.url} on another computer and give --firmware FILE, or put it into {cache}",
    )


def _reason(error: Any) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not accepted ({error.verify_message})"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
