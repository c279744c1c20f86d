"""The directory in which a node keeps what must survive: its owner's alone, and one node's at a time.

Whatever in it is damaged is set aside under a name of its own and told about. The identity is not touched here.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ..errors import NotPrivate, PortBusy, PortError
from ..identity.private_file import data_home, demand_private

IDENTITY: Final = "own.identity"
STATE: Final = "state.sqlite"
PEERS: Final = "peers.sqlite"
LOCK: Final = "node.lock"
SOCKET: Final = "control.sock"

BESIDE: Final = ("", "-journal", "-wal", "-shm")
"""Endings of the files of one database of SQLite's."""


def default_directory() -> Path:
    """Where a node keeps its state if it is not told where."""
    return data_home() / "node"


class StateDirectory:
    """A locked state directory. clock: Unix seconds, for the names of what is set aside; those are in `set_aside`.

    user: what runs in it, as the user calls it.
    """

    def __init__(self, path: Path, clock: Callable[[], float], user: str = "node") -> None:
        """Make it if need be, and lock it. Raises NotPrivate, PortBusy if a node runs in it, PortError."""
        self.path = path
        self._user = user
        self.set_aside: list[Path] = []
        self._clock = clock
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            demand_private(path)
            self._lock = self._locked()
        except OSError as error:
            raise PortError(f"cannot use {path}: {error.strerror}") from None

    @property
    def identity(self) -> Path:
        return self.path / IDENTITY

    @property
    def state(self) -> Path:
        return self.path / STATE

    @property
    def peers(self) -> Path:
        return self.path / PEERS

    @property
    def socket(self) -> Path:
        return self.path / SOCKET

    def put_aside(self, path: Path) -> Path:
        """Give something here another name, one that is free. Raises PortError."""
        number, now = 0, int(self._clock())
        while True:
            aside = path.with_name(f"{path.name}.damaged-{now}" + (f"-{number}" if number else ""))
            if not os.path.lexists(aside):
                break
            number += 1
        try:
            path.rename(aside)
        except OSError as error:
            raise PortError(f"cannot set {path} aside: {error.strerror}") from None
        self.set_aside.append(aside)
        return aside

    def put_database_aside(self, path: Path) -> None:
        """The same for a database of SQLite's, with what lies beside it. Raises PortError."""
        for ending in BESIDE:
            beside = Path(f"{path}{ending}")
            if os.path.lexists(beside):
                self.put_aside(beside)

    def close(self) -> None:
        """Let another node have it. Harmless when repeated."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _locked(self) -> int | None:
        path = self.path / LOCK
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        except OSError:
            # A directory or a link: nothing that is ever there by itself.
            self.put_aside(path)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            if os.fstat(descriptor).st_uid != os.geteuid():
                raise NotPrivate(f"{path} belongs to somebody else")
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise PortBusy(
                f"a {self._user} runs in {self.path}", hint="Stop it first, or give another folder for the state"
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor
