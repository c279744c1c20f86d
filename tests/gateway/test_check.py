"""What a gateway's file asks of this computer: all of it is looked at, nothing is made or changed."""

import os
import pty
import socket
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitrelay.ble.survey import Survey
from bitrelay.dht.state_directory import StateDirectory
from bitrelay.errors import ExitCode, NoBluetooth
from bitrelay.gateway.check import About, Finding, check
from bitrelay.identity.local import save_identity
from tests.identity.mined import BITS, local_identity


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("BITRELAY_HOME", str(home))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return home


@pytest.fixture
def relay() -> Iterator[str]:
    """The port of a relay that says nothing."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    yield os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


def written(tmp_path: Path, relays: str, more: str = "", root: str = "") -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(
        f'name = "n"\n{root}\n[[mesh]]\nname = "west"\nrelays = [{relays}]\ndownlink = true\n'
        f'{more}\n[metrics]\nlisten = "off"\n[federation]\npeers = ["tcp://192.0.2.1:8765"]\n'
    )
    return path


async def wrong(path: Path) -> list[Finding]:
    return [finding for finding in await check(path) if finding.exit_code is not None]


def listening(kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    sock.bind(("127.0.0.1", 0))
    if kind is socket.SOCK_STREAM:
        sock.listen()
    return sock


async def test_nothing_is_found_and_nothing_is_made(tmp_path: Path, home: Path, relay: str) -> None:
    path = written(tmp_path, f'"{relay}"', more='[dht]\nlisten = ["udp://127.0.0.1:0"]\nlan = true\nfind = ["east"]')
    assert await check(path) == []
    assert os.listdir(home) == []


async def test_every_mistake_in_the_file_is_a_finding(tmp_path: Path) -> None:
    found = await check(written(tmp_path, "", more="uplnik = true"))
    assert [(each.about, each.line, each.exit_code) for each in found] == [
        (About.FILE, 5, ExitCode.BAD_DATA),
        (About.FILE, 7, ExitCode.BAD_DATA),
    ]
    assert str(found[1]).startswith(f"{tmp_path}/gateway.toml:7: unknown key 'uplnik' in [[mesh]]. Did you mean")


async def test_a_file_that_is_not_there_is_one(tmp_path: Path) -> None:
    (found,) = await check(tmp_path / "none.toml")
    assert (found.line, str(found)) == (
        None,
        f"{tmp_path}/none.toml: No such file or directory. `bitrelay gateway init FILE` writes one",
    )


async def test_a_file_that_cannot_even_be_looked_for_is_one(tmp_path: Path) -> None:
    (found,) = await check(tmp_path / ("n" * 300))
    assert found.what.endswith("File name too long") and found.hint is None


async def test_relays_are_found_missing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = await wrong(written(tmp_path, f'"relay1", "serial:///dev/ttyUSB77", "{tmp_path}/file"'))
    assert [(each.about, each.line, each.what, each.exit_code) for each in found] == [
        (About.RELAY, 5, "relay1: no such port", ExitCode.NO_DEVICE),
        (About.RELAY, 5, "/dev/ttyUSB77: no such port", ExitCode.NO_DEVICE),
        (About.RELAY, 5, f"{tmp_path}/file: not a serial port", ExitCode.IO_ERROR),
    ]
    assert all(each.hint for each in found)


async def test_a_relay_that_another_program_has_is_told(tmp_path: Path, relay: str) -> None:
    from bitrelay.serial_link import open_port

    held = open_port(relay)
    try:
        (found,) = await wrong(written(tmp_path, f'"{relay}"'))
    finally:
        held.close()
    assert (found.line, found.exit_code) == (5, ExitCode.PORT_BUSY)


async def test_one_relay_by_two_names_is_told(tmp_path: Path, relay: str) -> None:
    (tmp_path / "link").symlink_to(relay)
    (found,) = await wrong(written(tmp_path, f'"{relay}", "{tmp_path}/link"'))
    assert (found.line, found.what) == (5, f"{tmp_path}/link: this is the same port as {relay}")


async def test_relays_over_bluetooth_are_listened_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silence(seconds: float) -> Survey:
        return Survey()

    async def no_adapter(seconds: float) -> Survey:
        raise NoBluetooth("there is no Bluetooth adapter", hint="Plug one in")

    path = written(tmp_path, '"ble://AA:BB:CC:DD:EE:FF"')
    monkeypatch.setattr("bitrelay.ble.survey.survey", silence)
    (found,) = await wrong(path)
    assert (found.line, found.exit_code) == (5, ExitCode.NO_DEVICE) and "nothing was heard" in found.what
    monkeypatch.setattr("bitrelay.ble.survey.survey", no_adapter)
    (found,) = await wrong(path)
    assert (found.line, found.exit_code, found.hint) == (5, ExitCode.NO_BLUETOOTH, "Plug one in")


async def test_ports_in_use_are_told_each_with_its_line(tmp_path: Path, relay: str) -> None:
    path = tmp_path / "gateway.toml"
    stream, datagram = listening(socket.SOCK_STREAM), listening(socket.SOCK_DGRAM)
    tcp, udp = stream.getsockname()[1], datagram.getsockname()[1]
    text = (
        f'name = "n"\n[[mesh]]\nname = "west"\nrelays = ["{relay}"]\n[federation]\n'
        'listen = ["SCHEME://127.0.0.1:PORT", "tcp://192.0.2.1:1"]\n[dht]\n'
        f'listen = ["udp://127.0.0.1:DHT"]\n[metrics]\nlisten = "127.0.0.1:METRICS"\n'
    )
    with stream, datagram:
        path.write_text(
            text.replace("SCHEME", "quic").replace("PORT", str(udp)).replace("DHT", "0").replace("METRICS", str(tcp))
        )
        quic, stranger, metrics = await wrong(path)
        path.write_text(
            text.replace("SCHEME", "ws").replace("PORT", str(tcp)).replace("DHT", str(udp)).replace("METRICS", "0")
        )
        ws, _, dht = await wrong(path)
    assert [(each.line, each.exit_code) for each in (quic, metrics, ws, dht)] == [
        (6, ExitCode.PORT_BUSY),
        (10, ExitCode.PORT_BUSY),
        (6, ExitCode.PORT_BUSY),
        (8, ExitCode.PORT_BUSY),
    ]
    assert quic.what == f"quic://127.0.0.1:{udp}: another program listens there" and quic.hint
    assert (stranger.line, stranger.what) == (6, "192.0.2.1 is no address of this computer")


async def test_a_gateway_that_runs_is_a_note_and_has_its_ports(tmp_path: Path, home: Path, relay: str) -> None:
    stream = listening(socket.SOCK_STREAM)
    listen = f'listen = ["tcp://127.0.0.1:{stream.getsockname()[1]}"]\n'
    path = written(tmp_path, f'"{relay}"')
    path.write_text(path.read_text() + listen)
    directory = StateDirectory(home / "gateway", time.time)
    with stream:
        try:
            (running,) = await check(path)
        finally:
            directory.close()
        (busy,) = await check(path)
    assert running.exit_code is None and running.what.startswith("a gateway runs with this state")
    assert busy.exit_code is ExitCode.PORT_BUSY


@pytest.mark.parametrize(
    ("folder", "mode", "says"),
    [
        ("open", 0o755, "is open to others"),
        ("file", None, "is not a folder"),
        ("file/below", None, "nothing can be written in"),
        ("long" * 30, None, "too long for a socket"),
    ],
)
async def test_a_folder_that_cannot_be_used_is_told(
    tmp_path: Path, relay: str, folder: str, mode: int | None, says: str
) -> None:
    (tmp_path / "file").touch()
    if mode is not None:
        (tmp_path / folder).mkdir(mode=mode)
    (found,) = await wrong(written(tmp_path, f'"{relay}"', root=f'state = "{folder}"'))
    assert (found.about, found.line) == (About.STATE, 2)
    assert says in found.what


async def test_an_identity_that_cannot_be_used_is_told(tmp_path: Path, relay: str) -> None:
    save_identity(tmp_path / "state" / "own.identity", local_identity(1))
    path = written(tmp_path, f'"{relay}"', root=f'state = "state"\ndifficulty = {BITS}')
    assert await wrong(path) == []
    (weak,) = await wrong(written(tmp_path, f'"{relay}"', root='state = "state"'))
    assert (weak.about, weak.exit_code) == (About.IDENTITY, ExitCode.BAD_DATA) and "8 bits, not 16" in weak.what
    (tmp_path / "state" / "own.identity").write_text("{}")
    (damaged,) = await wrong(path)
    assert (damaged.line, damaged.exit_code) == (2, ExitCode.BAD_DATA) and "is damaged" in damaged.what


async def test_what_a_broker_needs_is_looked_for(tmp_path: Path, relay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fleet.key").write_text("0f" * 32)
    (tmp_path / "fleet.key").chmod(0o600)
    (tmp_path / "ca.pem").write_text("none")
    path = tmp_path / "gateway.toml"
    path.write_text(
        f'name = "n"\n[[mesh]]\nname = "west"\nrelays = ["{relay}"]\n[federation]\nengine = "mqtt"\n[metrics]\n'
        'listen = "off"\n[mqtt]\nhost = "h"\ntls = true\nfleet_key = "fleet.key"\nca_file = "ca.pem"\n'
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    library, certificates = await wrong(path)
    assert (library.line, library.hint) == (6, "pip install 'bitrelay[mqtt]'")
    assert (certificates.line, certificates.hint) == (13, "It must be a file in PEM format")


async def test_what_may_not_be_meant_is_a_note(tmp_path: Path, relay: str) -> None:
    path = tmp_path / "gateway.toml"
    mesh = f'name = "n"\n[[mesh]]\nname = "west"\nrelays = ["{relay}"]\n[metrics]\nlisten = "off"\n'
    path.write_text(mesh)
    downlink, alone = await check(path)
    assert (downlink.line, downlink.exit_code) == (2, None) and "its downlink is off" in downlink.what
    assert "nothing leads to another mesh" in alone.what
    path.write_text(mesh + '[federation]\nlisten = ["tcp://127.0.0.1:0"]\n')
    _, closed = await check(path)
    assert (closed.line, closed.exit_code) == (7, None) and "no other gateway may link" in closed.what


@pytest.mark.parametrize(
    ("dht", "federation", "says"),
    [
        ("", 'listen = ["tcp://0.0.0.0:0"]', ["no other mesh is named", "no first node", "cannot say where"]),
        ('find = ["east"]\nlan = true', 'listen = ["tcp://127.0.0.1:0"]', []),
        ('find = ["east"]\nbootstrap = ["192.0.2.1"]', 'listen = ["tcp://0.0.0.0:0"]', ["cannot say where"]),
        ('find = ["east"]\nlan = true', 'listen = ["tcp://0.0.0.0:0"]\nannounce = ["tcp://192.0.2.1:1"]', []),
        ("lan = true", "", ["no other mesh is named"]),
    ],
)
async def test_what_keeps_gateways_from_being_found_by_name_is_a_note(
    tmp_path: Path, relay: str, dht: str, federation: str, says: list[str]
) -> None:
    path = written(tmp_path, f'"{relay}"')
    path.write_text(f'{path.read_text()}{federation}\n[dht]\nlisten = ["udp://127.0.0.1:0"]\n{dht}\n')
    found = await check(path)
    assert [each.exit_code for each in found] == [None] * len(says)
    assert all(words in each.what and each.hint for words, each in zip(says, found, strict=True)), found


async def test_a_mesh_that_is_subscribed_to_by_name_is_looked_for(tmp_path: Path, relay: str) -> None:
    path = written(tmp_path, f'"{relay}"', more='subscribe = ["geo:u33", "east"]\n[dht]\nlan = true\n')
    assert await check(path) == []
