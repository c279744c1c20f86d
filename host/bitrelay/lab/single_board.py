"""One virtual board on its own, as if it lay on the desk: blank, or with the flash of a file."""

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bitrelay import ports
from bitrelay.errors import BadData

from .board import Board
from .board_radio import join_radio, socket_directory
from .build import build_shim, find_interpreter
from .directory import claimed_directory
from .hci_server import HciServer
from .nor_flash import DEFAULT_SIZE, NorFlash, size_name
from .radio import Radio
from .stand_in import build_firmware, version_of

# Of Espressif, as the boards have it.
_MAKER = b"\x24\x0a\xc4"


@dataclass(frozen=True)
class SingleBoard:
    """The board that runs, and the file that stands in for MicroPython's firmware on it."""

    board: Board
    firmware: Path

    def as_json(self) -> dict[str, str]:
        """The contract for scripts: these names stay. port is the URL, since flashing needs its lines."""
        board = self.board
        return {
            "name": board.name,
            "chip": board.chip,
            "port": board.url,
            "pty": board.port,
            "flash_size": size_name(board.flash.size),
            "flash": str(board.flash.path),
            "firmware": str(self.firmware),
            "mac": ":".join(f"{byte:02x}" for byte in board.unique_id),
        }


@asynccontextmanager
async def single_board(
    chip: str,
    *,
    flash_size: int | None = None,
    flash: Path | None = None,
    auto_reset: bool = True,
    max_baud: int = 0,
    name: str = "",
    micropython: Path | None = None,
) -> AsyncIterator[SingleBoard]:
    """A board that has been switched on and that `bitrelay devices` lists, with a radio that it has for itself.

    flash is a file to start from and to keep, made if it is not there; without it the flash is blank and goes with the
    board. flash_size is in bytes, by default that of the file, or 4 MiB. Raises BadData if the two disagree.
    """
    interpreter = find_interpreter(micropython)
    mac = _MAKER + (_of_file(flash) if flash else os.urandom(3))
    name = name or f"{chip}-{mac[-2:].hex()}"
    with ExitStack() as exit_stack:
        directory = exit_stack.enter_context(claimed_directory())
        build_shim(directory / ".shim", interpreter)
        firmware = directory / f"{chip}.bin"
        firmware.write_bytes(build_firmware(chip, version_of(interpreter)))
        nor = _open_flash(flash, flash_size, directory)
        exit_stack.callback(nor.close)
        radio = Radio(0, 0.0)
        exit_stack.callback(radio.close)
        controller = radio.add(name, ":".join(f"{byte:02X}" for byte in mac), None)
        sockets = exit_stack.enter_context(socket_directory(directory))
        board = Board(
            name,
            directory,
            interpreter,
            directory / ".shim",
            nor,
            chip=chip,
            auto_reset=auto_reset,
            max_baud=max_baud,
            bluetooth=join_radio(controller, radio, interpreter, sockets),
            controller=controller,
            unique_id=mac,
        )
        try:
            await board.start()
            server = HciServer(radio)
            try:
                socket = await server.open(sockets)
                exit_stack.callback(ports.withdraw)
                ports.advertise([ports.BoardPort(name, board.port, board.url, chip, str(firmware))], socket)
                yield SingleBoard(board, firmware)
            finally:
                await server.close()
        finally:
            await board.close()


def _of_file(flash: Path) -> bytes:
    # The same flash is the same board, also tomorrow.
    return hashlib.sha256(str(flash.absolute()).encode()).digest()[:3]


def _open_flash(flash: Path | None, size: int | None, directory: Path) -> NorFlash:
    path = flash.absolute() if flash else directory / "flash.bin"
    if path.exists() and not path.is_file():
        raise BadData(f"{path} is not a file")
    found = path.stat().st_size if path.exists() else 0
    return NorFlash(path, size or found or DEFAULT_SIZE)
