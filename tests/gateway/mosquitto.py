"""A real Mosquitto on a port of loopback, and a way to it that can be cut."""

import asyncio
import datetime
import ipaddress
import os
import pwd
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PROGRAM = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
WHY_NOT = None if PROGRAM else "mosquitto is not installed"
_START_S = 10.0
_TRIES = 3


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for loopback, which is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, no_password = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "broker.pem").write_bytes(made.public_bytes(pem))
    (folder / "broker.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, no_password))
    return folder / "broker.pem", folder / "broker.key"


class Mosquitto:
    """folder: for its configuration. settings: lines of that, beside port, user and log. nodelay: see docs/mqtt.md."""

    def __init__(
        self, folder: Path, settings: Sequence[str] = ("allow_anonymous true",), *, nodelay: bool = True
    ) -> None:
        self.port = 0
        self._config = folder / "mosquitto.conf"
        user = pwd.getpwuid(os.getuid()).pw_name
        self._settings = [f"user {user}", "persistence false", "log_dest stderr"]
        self._settings += [f"set_tcp_nodelay {str(nodelay).lower()}", *settings]
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> "Mosquitto":
        for _ in range(_TRIES):
            self.port = free_port()
            # The listener comes first: what follows it may be about it.
            self._config.write_text("\n".join([f"listener {self.port} 127.0.0.1", *self._settings]) + "\n")
            if await self.start():
                return self
        raise AssertionError(f"mosquitto does not start with {self._config}")

    async def __aexit__(self, *error: object) -> None:
        await self.kill()

    async def start(self) -> bool:
        """Whether it runs; if not, somebody else was quicker to take the port."""
        assert PROGRAM is not None
        self._process = await asyncio.create_subprocess_exec(
            PROGRAM, "-c", str(self._config), stderr=asyncio.subprocess.PIPE
        )
        assert self._process.stderr is not None
        said = b"begun"
        async with asyncio.timeout(_START_S):
            while said and b" running" not in said:
                said = await self._process.stderr.readline()
        # Nobody reads its log: it must not fill the pipe.
        self._drain = asyncio.create_task(self._process.stderr.read())
        if not said:
            await self.kill()
        return bool(said)

    async def kill(self) -> None:
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()
            await self._drain
            self._process = None


class CuttableWay:
    """A port of loopback that leads to another one, until it is cut: as when the process behind it is killed.

    delay_s: how much longer the way takes.
    """

    def __init__(self, port: int, delay_s: float = 0.0) -> None:
        self._to = port
        self._delay_s = delay_s
        self._ends: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "CuttableWay":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.cut()

    async def cut(self) -> None:
        """Nothing passes any more, and nobody gets in."""
        self._server.close()
        for end in self._ends:
            end.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self._to)
        self._ends += [writer, other_writer]
        for source, target in ((reader, other_writer), (other_reader, writer)):
            task = asyncio.create_task(self._pass_on(source, target))
            self._tasks.add(task)

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                if self._delay_s:
                    asyncio.get_running_loop().call_later(self._delay_s, target.write, data)
                else:
                    target.write(data)
        except OSError:
            pass
        target.transport.abort()
