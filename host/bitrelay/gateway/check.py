"""What a gateway's file asks of this computer, looked at before anything starts; nothing is made or changed for it.

A mistake in the file itself is found, too: then the computer is not looked at.
"""

import asyncio
import fcntl
import importlib.util
import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from .. import ports
from ..dht.control import LONGEST_PATH
from ..dht.state_directory import IDENTITY, LOCK, SOCKET
from ..errors import (
    BadData,
    BitrelayError,
    BrokenInstallation,
    ExitCode,
    NoDevice,
    NoIdentity,
    PortBusy,
    PortError,
    WrongAddress,
)
from ..identity.local import identity_path, load_identity
from ..identity.private_file import demand_private
from ..toml_source import TomlError
from ..transports.address import Bluetooth, HostAddress, Serial, Tcp, WebSocket
from ..transports.sockets import listening_error
from .config import EngineKind, GatewayConfig, is_name, is_somewhere
from .config_file import ConfigFile, examine
from .state import default_directory

OPEN_S: Final = 5.0
LISTEN_S: Final = 4.0

_RESTRICTED: Final = 1024
_RUNS: Final = "a gateway runs with this state: relays and ports that are in use are taken for its own"


class About(StrEnum):
    """What a finding is about."""

    FILE = "file"
    STATE = "state"
    IDENTITY = "identity"
    PROGRAMS = "programs"
    PORT = "port"
    RELAY = "relay"
    POLICY = "policy"


@dataclass(frozen=True, slots=True)
class Finding:
    """line: of the file, None if it has none. exit_code: None for a note, which keeps nothing from starting."""

    about: About
    path: Path
    line: int | None
    what: str
    hint: str | None = None
    exit_code: ExitCode | None = None

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else str(self.path)
        kind = "note: " if self.exit_code is None else ""
        return f"{where}: {kind}{self.what}" + (f". {self.hint}" if self.hint else "")


async def check(path: Path, *, listen_s: float = LISTEN_S) -> list[Finding]:
    """All that is wrong, in the order in which it should be mended, and notes.

    Takes as long as it takes to open the relays' ports, at most OPEN_S. listen_s: for how long relays are listened for
    over Bluetooth, if there are any; 0 leaves that out.
    """
    file, mistakes = examine(path)
    if file is None:
        return [_of_mistake(path, mistake) for mistake in mistakes]
    looking = _Looking(file)
    found = [*looking.state()]
    if not found:  # else the identity in it would be found to be in the same state
        found += looking.identity()
    running = is_running(file.config)
    if running:
        found.append(looking.note(About.STATE, _RUNS, file.line("state")))
    found += looking.programs()
    found += await asyncio.to_thread(lambda: [*looking.listened()])
    found += await looking.relays(listen_s)
    if running:
        found = [finding for finding in found if finding.exit_code is not ExitCode.PORT_BUSY]
    return [*found, *looking.policy()]


def is_running(config: GatewayConfig) -> bool:
    """Whether a gateway holds the folder of this configuration."""
    try:
        descriptor = os.open(_folder(config) / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class _Looking:
    def __init__(self, file: ConfigFile) -> None:
        self._file = file
        self._config = file.config

    def note(self, about: About, what: str, line: int, hint: str | None = None) -> Finding:
        return Finding(about, self._file.path, line, what, hint)

    def state(self) -> Iterator[Finding]:
        """The folder: private, to be written in, with a path that is short enough for its socket."""
        folder, line = _folder(self._config), self._file.line("state")
        if len(os.fsencode(folder / SOCKET)) > LONGEST_PATH:
            error: BitrelayError = PortError(
                f"the path of {folder} is too long for a socket", hint="Give a shorter state"
            )
            yield self._wrong(About.STATE, error, line)
        try:
            nearest = next(each for each in (folder, *folder.parents) if each.exists())
            if nearest == folder:
                demand_private(folder)
            if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
                error = PortError(
                    f"nothing can be written in {nearest}", hint="Give another state, or its folder to this user"
                )
                yield self._wrong(About.STATE, error, line)
        except BitrelayError as error:
            yield self._wrong(About.STATE, error, line)
        except OSError as error:
            yield self._wrong(About.STATE, PortError(f"cannot use {folder}: {error.strerror}"), line)

    def identity(self) -> Iterator[Finding]:
        """Ours can be read, and has the work that is demanded. One that is not there yet is made when it starts."""
        path = _folder(self._config) / IDENTITY if self._config.state else identity_path()
        try:
            bits = load_identity(path).proof.difficulty
        except NoIdentity:
            return
        except BitrelayError as error:
            yield self._wrong(About.IDENTITY, error, self._file.line("state"))
            return
        if bits < self._config.difficulty:
            what = f"the identity in {path} has a proof of work of {bits} bits, not {self._config.difficulty}"
            hint = "Lower difficulty, or give another state"
            yield self._wrong(About.IDENTITY, BadData(what, hint=hint), self._file.line("difficulty"))

    def programs(self) -> Iterator[Finding]:
        """What the engine needs."""
        mqtt = self._config.mqtt
        if self._config.federation.engine is not EngineKind.MQTT or mqtt is None:
            return
        if importlib.util.find_spec("aiomqtt") is None:
            missing = BrokenInstallation("aiomqtt is not installed", hint="pip install 'bitrelay[mqtt]'")
            yield self._wrong(About.PROGRAMS, missing, self._file.line("engine", "federation"))
        if mqtt.ca_file is not None:
            try:
                ssl.create_default_context(cafile=mqtt.ca_file)
            except (OSError, ValueError):  # ssl.SSLError is an OSError
                error = BadData(f"{mqtt.ca_file} has no certificates", hint="It must be a file in PEM format")
                yield self._wrong(About.PROGRAMS, error, self._file.line("ca_file", "mqtt"))

    def listened(self) -> Iterator[Finding]:
        """Every port can be listened at. Blocks while names are looked up."""
        config = self._config
        of_links = config.federation.listen if config.federation.engine is EngineKind.LINKS else ()
        places = [(address, "federation") for address in of_links if isinstance(address, HostAddress)]
        places += [(address, "dht") for address in (config.dht.listen if config.dht else ())]
        if config.metrics is not None:
            places.append((Tcp(*config.metrics), "metrics"))
        for address, table in places:
            error = _why_not_bound(address)
            if error is not None:
                yield self._wrong(About.PORT, error, self._file.line("listen", table))

    async def relays(self, listen_s: float) -> list[Finding]:
        """Every relay is there, and free."""
        cabled: list[tuple[Serial, int]] = []
        by_radio: list[tuple[Bluetooth, int]] = []
        for number, mesh in enumerate(self._config.meshes):
            line = self._file.line("relays", "mesh", number)
            for relay in mesh.relays:
                if isinstance(relay, Serial):
                    cabled.append((relay, line))
                else:
                    by_radio.append((relay, line))
        found = await self._cabled(cabled)
        if by_radio and listen_s > 0:
            found += await self._by_radio(by_radio, listen_s)
        return found

    async def _cabled(self, relays: list[tuple[Serial, int]]) -> list[Finding]:
        found: list[Finding] = []
        used: dict[str, str] = {}
        free: list[tuple[str, int]] = []
        for relay, line in relays:
            try:
                port, place = await asyncio.to_thread(_port_and_place, relay.port)
                if place in used:
                    hint = "Name it once: a relay is in one mesh, and has one port"
                    raise BadData(f"this is the same port as {used[place]}", device=relay.port, hint=hint)
            except BitrelayError as error:
                found.append(self._wrong(About.RELAY, error, line))
                continue
            used[place] = relay.port
            free.append((port, line))
        # All at once: one that does not answer holds up nobody.
        opened = await asyncio.gather(*(_why_not_opened(port) for port, _ in free))
        return found + [self._wrong(About.RELAY, e, at) for e, (_, at) in zip(opened, free, strict=True) if e]

    async def _by_radio(self, relays: list[tuple[Bluetooth, int]], listen_s: float) -> list[Finding]:
        from ..ble.survey import survey

        try:
            heard = {one.peer.device_address.upper() for one in (await survey(listen_s)).heard}
        except BitrelayError as error:
            return [self._wrong(About.RELAY, error, relays[0][1])]
        hint = "Is it on, and near? `bitrelay devices --ble` tells"
        missing = [(str(relay), line) for relay, line in relays if relay.device not in heard]
        what = f"nothing was heard of it within {listen_s:g} s"
        return [self._wrong(About.RELAY, NoDevice(what, device=device, hint=hint), line) for device, line in missing]

    def policy(self) -> Iterator[Finding]:
        """What is right, and may not be what was meant."""
        config, federation, line = self._config, self._config.federation, self._file.line
        for number, mesh in enumerate(config.meshes):
            if not mesh.downlink.enabled:
                what = f"{mesh.name!r} takes nothing from other meshes: its downlink is off"
                at = line("downlink", "mesh", number)
                yield self.note(About.POLICY, what, at, "downlink = true lets them in, within its budgets")
        if federation.engine is not EngineKind.LINKS:
            return
        yield from self._found_by_name()
        if federation.peers:
            return
        if federation.listen or config.dht:
            if not federation.trust and not federation.is_open:
                what = "no other gateway may link: there is no trust, and open is false"
                at = line("trust", "federation")
                yield self.note(About.POLICY, what, at, "Put the PeerIds of others into trust")
        elif len(config.meshes) == 1:
            what = "nothing leads to another mesh: there is no listen, no peers and no [dht]"
            yield self.note(About.POLICY, what, line(None, "federation"), "Give one of them")

    def _found_by_name(self) -> Iterator[Finding]:
        # What keeps gateways from finding one another in the DHT.
        dht, federation, line = self._config.dht, self._config.federation, self._file.line
        if dht is None:
            return
        if not dht.find and not any(is_name(each) for mesh in self._config.meshes for each in mesh.subscribe):
            what = "only other gateways of its own mesh are looked for in the DHT: no other mesh is named"
            yield self.note(About.POLICY, what, line(None, "dht"), 'find = ["NAME"] looks for those of that mesh')
        if not dht.bootstrap and not dht.lan:
            what = "the DHT has no first node: nobody is asked until somebody asks this one"
            hint = "Put a node that runs into bootstrap, or set lan = true if there is one in this network"
            yield self.note(About.POLICY, what, line(None, "dht"), hint)
        if federation.listen and not federation.announce and not any(map(is_somewhere, federation.listen)):
            what = "the DHT cannot say where this gateway is reached: it listens everywhere, and announces nothing"
            hint = 'announce = ["tcp://HOST:PORT"], as others see it; without it this one can dial others alone'
            yield self.note(About.POLICY, what, line("listen", "federation"), hint)

    def _wrong(self, about: About, error: BitrelayError, line: int) -> Finding:
        what = f"{error.device}: {error.what}" if error.device else error.what
        return Finding(about, self._file.path, line, what, error.hint, error.exit_code)


def _folder(config: GatewayConfig) -> Path:
    return config.state or default_directory()


def _of_mistake(path: Path, mistake: TomlError) -> Finding:
    # Its words begin with the place, which a finding has of its own.
    what = mistake.what.removeprefix(f"{path}:{mistake.line}: ").removeprefix(f"{path}: ")
    return Finding(About.FILE, path, mistake.line, what, mistake.hint, mistake.exit_code)


def _why_not_bound(address: HostAddress) -> BitrelayError | None:
    kind = socket.SOCK_STREAM if isinstance(address, Tcp | WebSocket) else socket.SOCK_DGRAM
    try:
        for family, _, _, _, place in socket.getaddrinfo(
            address.host, address.port, type=kind, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind) as sock:
                if kind is socket.SOCK_STREAM:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind(place)
    except (OSError, UnicodeError) as error:
        found = listening_error(address, error)
        if isinstance(found, WrongAddress):
            found.hint = "Give one of this computer's addresses, or 0.0.0.0 for all of IPv4"
        elif isinstance(found, PortBusy):
            found.hint = "Take another port, or end that program"
        elif isinstance(error, PermissionError) and address.port < _RESTRICTED:
            found.hint = f"Ports below {_RESTRICTED} are the system's: take another one"
        return found
    return None


def _port_and_place(name: str) -> tuple[str, str]:
    # Links and names of virtual boards lead to the same device.
    port = ports.choose_port(name)
    return port, os.path.realpath(port)


async def _why_not_opened(port: str) -> BitrelayError | None:
    # As a gateway opens it: what keeps it from doing so is told in the same words. Nothing is sent.
    from ..serial_link import SerialLink

    try:
        link = await SerialLink.open(port, lambda chunk: None, lambda reason: None, OPEN_S)
    except BitrelayError as error:
        return error
    await link.close()
    return None
