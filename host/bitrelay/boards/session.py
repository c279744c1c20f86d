"""The process that has a board's port while it is flashed: `python -m bitrelay.boards.session`, one per board.

It reads requests from stdin, one JSON document per line, and answers each on stdout by any number of
{"stage": name, "done": n, "total": n}, then {"result": {...}} or {"error": class of errors.py, "what", "hint"}. Bytes
are in base64. It ends with stdin, or by SIGTERM, after which the board starts what it has.
"""

import base64
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import IO, Any

from bitrelay.errors import BitrelayError

from .bootloader import Bootloader, OnProgress
from .esptool_log import keep_quiet
from .image import DATA, Partition
from .survey import survey

Values = dict[str, Any]


class Session:
    """One board, from the first contact on. say() gets what goes to whoever asked."""

    def __init__(self, say: Callable[[Values], None]) -> None:
        self._say = say
        self._bootloader: Bootloader | None = None

    def answer(self, request: Values) -> Values:
        """Do what a request wants and return its result. Raises what `Bootloader` raises."""
        do, values = request["do"], request.get("values", {})
        actions: dict[str, Callable[..., Values]] = {
            "connect": self.connect,
            "baud": self.baud,
            "survey": self.survey,
            "same": self.same,
            "write": self.write,
            "leave": self.leave,
        }
        return actions[do](**values)

    def connect(self, port: str, reset: bool) -> Values:
        """Get the board into its bootloader, anew if it is there; what it is."""
        self.close()
        self._bootloader = Bootloader.connect(port, reset=reset)
        found = self._bootloader.look()
        return {"title": found.title, "mac": found.mac, "flash_size": found.flash_size}

    def baud(self, baud: int) -> Values:
        """Go on at another rate."""
        self._board.change_baud(baud)
        return {}

    def survey(self, flash_size: int, offset: int, size: int) -> Values:
        """What is on its flash; offset and size are where the files would be if its partition table does not tell."""
        read = 0

        def read_flash(at: int, length: int) -> bytes:
            nonlocal read
            data = self._board.read(at, length)
            read += length
            self._tell("read")(read, 0)
            return data

        found = survey(read_flash, flash_size, Partition("vfs", DATA, 0, offset, size))
        return {
            "project": found.app.project if found.app else "",
            "version": found.app.version if found.app else "",
            "files": {path: base64.b64encode(data).decode() for path, data in found.files.items()},
            "trouble": found.trouble,
            "at": found.at,
            "size": found.size,
        }

    def same(self, parts: list[tuple[int, int, str]]) -> Values:
        """Whether the flash has all (offset, size, MD5) already."""
        return {"same": all(self._board.md5(offset, size) == md5 for offset, size, md5 in parts)}

    def write(self, erase: list[tuple[int, int]], erase_all: bool, parts: list[Values]) -> Values:
        """Erase (offset, size) or everything, write the parts, read those back that want it; whether they are equal."""
        if erase_all:
            self._tell("erase")(0, 0)
            self._board.erase_all()
        for offset, size in erase:
            self._board.erase(offset, size)
        written = [(part["offset"], base64.b64decode(part["data"]), part["read_back"]) for part in parts]
        self._board.write([(offset, data) for offset, data, _ in written], self._tell("write"))
        total = sum(len(data) for _, data, read_back in written if read_back)
        done = 0
        for offset, data, read_back in written:
            if read_back:
                if self._board.read(offset, len(data)) != data:
                    return {"equal": False}
                done += len(data)
                self._tell("verify")(done, total)
        return {"equal": True}

    def leave(self) -> Values:
        """Start what is on the flash, and let go of the port; whether the chip left its bootloader."""
        started = self._board.leave()
        self.close()
        return {"started": started}

    def close(self) -> None:
        """Let go of the port."""
        bootloader, self._bootloader = self._bootloader, None
        if bootloader is not None:
            bootloader.close()

    def abandon(self) -> None:
        """Let the board start what it has, if that is possible, and let go of the port."""
        if self._bootloader is not None:
            try:
                self._bootloader.leave()
            finally:
                self.close()

    @property
    def _board(self) -> Bootloader:
        if self._bootloader is None:
            raise ValueError("not connected")
        return self._bootloader

    def _tell(self, stage: str) -> OnProgress:
        return lambda done, total: self._say({"stage": stage, "done": done, "total": total})


def run(requests: IO[str], answers: IO[str]) -> None:
    """Answer requests until they end."""

    def say(values: Values) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    session = Session(say)
    try:
        for line in requests:
            try:
                say({"result": session.answer(json.loads(line))})
            except BitrelayError as error:
                say({"error": type(error).__name__, "what": error.what, "hint": error.hint})
    except BrokenPipeError:
        pass  # whoever asked is gone
    finally:
        session.abandon()


def _stop(number: int, frame: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> None:
    """Run this process."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever else prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    keep_quiet()
    run(sys.stdin, answers)


if __name__ == "__main__":
    main()
