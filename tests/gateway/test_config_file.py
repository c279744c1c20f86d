"""A gateway's file: what it says, and every mistake in it told with its line and a way out."""

from pathlib import Path

import pytest

from bitrelay.gateway.config import DhtConfig, EngineKind, GatewayConfig, MeshConfig, PeerConfig, Preference
from bitrelay.gateway.config_file import examine, load_config, read_config
from bitrelay.toml_source import TomlError
from bitrelay.transports.address import Bluetooth, Quic, Serial, Tcp, Udp

LEAST = 'name = "north"\n[[mesh]]\nname = "west"\nrelays = ["relay1"]\n'
PEER_ID = "ab" * 32


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    return path


def secret(tmp_path: Path, name: str, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / name
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_name_a_mesh_and_a_relay_are_enough(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, LEAST)) == GatewayConfig("north", (MeshConfig("west", (Serial("relay1"),)),))


def test_all_of_it_is_read(tmp_path: Path) -> None:
    secret(tmp_path, "fleet.key", "0f" * 32 + "\n")
    secret(tmp_path, "broker.password", "sesame\n")
    config = load_config(
        written(
            tmp_path,
            f"""
            name = "north"
            state = "here"
            difficulty = 8
            internet_mbps = 5
            [[mesh]]
            name = "west"
            relays = ["serial:///dev/ttyUSB0", "ble://aa:bb:cc:dd:ee:ff", "rfc2217://localhost:4000"]
            geohash = "U33D"
            subscribe = ["east", "geo:U3"]
            downlink = true
            frames_per_minute = 600
            author_per_minute = 60
            [[mesh]]
            name = "Über den Dächern"
            relays = ["/dev/ttyACM0"]
            uplink = false
            [federation]
            engine = "links"
            listen = ["tcp://0.0.0.0:8765", "quic://[::]:8767"]
            peers = ["tcp://192.0.2.1:8765", "{PEER_ID}@tcp://east.example"]
            trust = ["{PEER_ID}"]
            open = true
            preference = "lowest-cost"
            [mqtt]
            host = "Broker.example"
            tls = true
            username = "north"
            password_file = "broker.password"
            fleet_key = "fleet.key"
            [dht]
            bootstrap = ["192.0.2.7"]
            find = ["east"]
            [store]
            age_s = 60
            [ledger]
            enabled = false
            [metrics]
            listen = "off"
            """,
        )
    )
    west, roof = config.meshes
    assert (config.state, config.difficulty, config.internet_mbps) == (tmp_path / "here", 8, 5.0)
    serial = (Serial("/dev/ttyUSB0"), Bluetooth("AA:BB:CC:DD:EE:FF"), Serial("rfc2217://localhost:4000"))
    assert (west.relays, west.geohash, west.subscribe) == (serial, "u33d", ("east", "geo:u3"))
    assert west.downlink.enabled and west.downlink.frames_per_minute == 600 and west.downlink.author_per_minute == 60
    assert (roof.name, roof.uplink, roof.downlink.enabled) == ("Über den Dächern", False, False)
    links = config.federation
    assert (links.engine, links.is_open, links.preference) == (EngineKind.LINKS, True, Preference.LOWEST_COST)
    assert links.listen == (Tcp("0.0.0.0", 8765), Quic("::", 8767)) and links.trust == {bytes.fromhex(PEER_ID)}
    named = PeerConfig(Tcp("east.example", 8765), bytes.fromhex(PEER_ID))
    assert links.peers == (PeerConfig(Tcp("192.0.2.1", 8765)), named)
    assert config.mqtt is not None and (config.mqtt.host, config.mqtt.port) == ("broker.example", 8883)
    assert (config.mqtt.password, config.mqtt.fleet_key) == ("sesame", b"\x0f" * 32)
    assert "sesame" not in repr(config) and "0f0f" not in repr(config)
    assert config.dht == DhtConfig((Udp("0.0.0.0", 8766),), (Udp("192.0.2.7", 8766),), find=("east",))
    assert (config.store.age_s, config.ledger.enabled, config.metrics) == (60.0, False, None)


MISTAKES = [
    # The text of a file (of a list, the lines after LEAST), the line of the mistake, what is said.
    ("", 1, r"'name' is missing. Add name = "),
    ('name = "n"', 1, r"no \[\[mesh\]\]"),
    ('name = "n"\n[mesh]\nname = "m"', 2, r"mesh must be written as \[\[mesh\]\]"),
    ('name = "n"\nmesh = 3', 2, r"mesh must be written as \[\[mesh\]\]"),
    ('name = "n"\n[[mesh]]\nname = "m"', 2, r"'relays' is missing in \[\[mesh\]\]"),
    ('name = "n"\n[[mesh]]\nname = "a/b"\nrelays = ["r"]', 3, r"'a/b' is no name of a mesh.* without /"),
    ('name = "n"\n[[mesh]]\nname = "geo:u3"\nrelays = ["r"]', 3, "would be taken for a place"),
    ('name = "n"\n[[mesh]]\nname = "m"\nrelays = []', 4, "0 of them, where 1 to 16 can be"),
    ('name = "n"\n[[mesh]]\nname = "m"\nrelays = "r"', 4, r"relays must be a list, in \[ \], not 'r'"),
    ('name = "n"\n[[mesh]]\nname = "m"\nrelays = [3]', 4, "each must be printable text"),
    ('name = "n"\n[[mesh]]\nname = "m"\nrelays = ["tcp://h:1"]', 4, "leads to no relay.*bitrelay devices"),
    ('name = "n"\n[[mesh]]\nname = "m"\nrelays = ["ble://x"]', 4, "'x' is no Bluetooth device.*ble://AA"),
    ('name = "n"\n[[mesh]]\nname = "m"\nrelays = ["r", "r"]', 4, "'r' is there twice"),
    ('name = "\\u0007"\n[[mesh]]\nname = "m"\nrelays = ["r"]', 1, "name must be a name of 1 to 64 bytes"),
    ("name = 'n'\nname = 'm'", 2, "overwrite.* is there twice: take one out"),
    ("name = n", 1, 'Invalid value. A line is key = value: a text in "quotes"'),
    (["staet = 'x'"], 5, r"unknown key 'staet' in \[\[mesh\]\]. Known here"),
    (["uplnik = true"], 5, "unknown key 'uplnik'.*Did you mean 'uplink'"),
    (["uplink = 1"], 5, "uplink must be true or false, not 1"),
    (["geohash = 'ail'"], 5, "a geohash of 1 to 12 characters"),
    (["subscribe = ['a#']"], 5, "'a#' is no subscription"),
    (["subscribe = ['geo:']"], 5, "no geohash in 'geo:'. One looks like geo:u33d"),
    (["announce_every_s = -1"], 5, "a number from 0 to 3600, not -1"),
    (["announce_every_s = nan"], 5, "a number from 0 to 3600, not nan"),
    (["downlink = 'on'"], 5, "downlink must be true or false"),
    (["frames_per_minute = 0"], 5, "a whole number from 1 to 1000000, not 0"),
    (["frames_per_minute = true"], 5, "a whole number"),
    (["airtime_percent = 0"], 5, "a number above 0 up to 100"),
    (["max_ttl = 7"], 5, "a whole number from 1 to 6, not 7"),
    (["author_per_minute = 31"], 5, "more than all of them may send.*frames_per_minute is 30"),
    (["gateway_per_minute = 9", "frames_per_minute = 8"], 5, "more than all of them may send"),
    (["[mesh.downlink]", "enabled = true"], 2, "downlink must be true or false"),
    (["[[mesh]]", "name = 'west'", "relays = ['r2']"], 6, "a second mesh named 'west'. The first is on line 3"),
    (["[[mesh]]", "name = 'e'", "relays = ['relay1']"], 7, "relay1 is in two meshes. It is in 'west' already"),
    (["[fedration]"], 5, r"unknown table \[fedration\]. Known: mesh, federation"),
    (["[[federation]]"], 5, r"federation must be written as \[federation\]"),
    (["[federation]", "engine = 'nats'"], 6, "engine must be 'links' or 'mqtt', not 'nats'"),
    (["[federation]", "engine = 'mqtt'"], 6, r"needs a section \[mqtt\]. Add \[mqtt\] with host and fleet_key"),
    (["[federation]", "listen = ['0.0.0.0:1']"], 6, "is no address.*One looks like tcp://192.0.2.1:8765"),
    (["[federation]", "listen = ['ble://AA:BB:CC:DD:EE:FF']"], 6, "is not an address of the internet"),
    (["[federation]", "listen = ['wss://0.0.0.0:1']"], 6, "needs a certificate. Listen at ws://"),
    (["[federation]", "listen = ['tcp://0.0.0.0:70000']"], 6, "no valid port"),
    (["[federation]", "listen = ['tcp://0.0.0.0:1', 'ws://127.0.0.1:1']"], 6, "the same port as another one"),
    (["[federation]", "listen = ['tcp://127.0.0.1:9464']", "[metrics]"], 7, "same port.*Line 6 has tcp://"),
    (["[federation]", "listen = ['quic://0.0.0.0']", "[dht]"], 7, "udp://0.0.0.0:8766 is the same port"),
    (["[federation]", "peers = ['tcp://0.0.0.0:1']"], 6, "nothing that can be dialled"),
    (["[federation]", "peers = ['abc@tcp://192.0.2.1:1']"], 6, "'abc' is no PeerId. It has 64 hex digits"),
    (["[federation]", "trust = ['abc']"], 6, "'abc' is no PeerId"),
    (["[federation]", f"trust = ['{PEER_ID}', '{PEER_ID}']"], 6, "is there twice"),
    (["[federation]", "announce = ['tcp://0.0.0.0:1']"], 6, "nothing that others can dial"),
    (["[federation]", "max_load = 80"], 6, "a number above 0 up to 1, not 80"),
    (["[federation]", "preference = 'best'"], 6, "'lowest-latency' or 'lowest-cost'"),
    (["[mqtt]", "fleet_key = 'k'"], 5, r"'host' is missing in \[mqtt\]"),
    (["[mqtt]", "topic = 'a/#'", "host = 'h'", "fleet_key = 3"], 6, "slashes only inside, not 'a/#'"),
    (["[dht]", "listen = ['tcp://0.0.0.0:1']"], 6, "is not for the DHT"),
    (["[dht]", "listen = []"], 6, "0 of them, where 1 to 2 can be"),
    (["[store]", "age_s = 600"], 6, "a number above 0 up to 120, not 600"),
    (["[ledger]", "keep_s = 1"], 6, "a number from 60"),
    (["[metrics]", "listen = 'on'"], 6, 'HOST:PORT, or "off", not'),
    (["[metrics]", "listen = 9464"], 6, 'HOST:PORT, or "off"'),
]


@pytest.mark.parametrize(("text", "line", "says"), MISTAKES)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str | list[str], line: int, says: str) -> None:
    path = written(tmp_path, text if isinstance(text, str) else LEAST + "\n".join(text))
    with pytest.raises(TomlError, match=says) as told:
        load_config(path)
    assert told.value.what.startswith(f"{path}:{line}: ")
    assert told.value.line == line


def test_subscriptions_that_are_too_many_to_be_told_to_others_are_a_mistake(tmp_path: Path) -> None:
    names = [f"{number} " + "x" * 50 for number in range(32)]
    mesh = "[[mesh]]\nname = 'mesh {0}'\nrelays = ['relay{0}']\nsubscribe = {1}\n"
    meshes = [mesh.format(number, names) for number in range(10)]
    load_config(written(tmp_path, 'name = "north"\n' + "".join(meshes[:8])))
    with pytest.raises(TomlError, match=":5: too many meshes and subscriptions to be told. Take fewer or shorter"):
        load_config(written(tmp_path, 'name = "north"\n' + "".join(meshes)))


def test_all_mistakes_are_found_in_the_order_of_their_lines(tmp_path: Path) -> None:
    more = "[metrics]\nlisten = 3\n[federation]\nlinks = 0\nopne = true\n[[mesh]]\nname = 'x'\n"
    found, mistakes = examine(written(tmp_path, LEAST + more))
    assert found is None
    assert [mistake.line for mistake in mistakes] == [6, 8, 9, 10]


@pytest.mark.parametrize(
    ("key", "content", "mode", "says"),
    [
        ("fleet_key", "0f" * 32, 0o644, "is open to others. chmod 600"),
        ("fleet_key", "0f" * 31, 0o600, "is no fleet key: that is one line of 64 hex digits.*fleet-key FILE"),
        ("fleet_key", "0f" * 64, 0o600, "has more than 66 bytes"),
        ("fleet_key", None, 0o600, "No such file.*fleet-key FILE"),
        ("password_file", "sesame", 0o640, "is open to others. chmod 600"),
        ("password_file", "", 0o600, "there is no password"),
        ("password_file", "two\nlines", 0o600, "there is no password"),
        ("password_file", "x" * 2000, 0o600, "has more than 1024 bytes"),
        ("ca_file", None, 0o600, "cannot read .*No such file"),
    ],
)
def test_a_file_that_cannot_be_used_is_told(
    tmp_path: Path, key: str, content: str | None, mode: int, says: str
) -> None:
    good = {"fleet_key": "good.key", "password_file": "good.password", "ca_file": "good.pem"}
    secret(tmp_path, "good.key", "0f" * 32)
    secret(tmp_path, "good.password", "sesame")
    secret(tmp_path, "good.pem", "certificate")
    if content is not None:
        secret(tmp_path, "bad", content, mode)
    named = "\n".join(f'{each} = "{"bad" if each == key else file}"' for each, file in good.items())
    path = written(tmp_path, f'{LEAST}[mqtt]\nhost = "h"\ntls = true\nusername = "n"\n{named}\n')
    with pytest.raises(TomlError, match=says) as told:
        load_config(path)
    assert told.value.line == 9 + list(good).index(key)
    assert "sesame" not in str(told.value) and "0f0f" not in str(told.value)


def test_a_key_in_the_place_of_its_file_is_not_repeated(tmp_path: Path) -> None:
    path = written(tmp_path, f'{LEAST}[mqtt]\nhost = "h"\nfleet_key = "{"0f" * 32}"\n')
    with pytest.raises(TomlError, match="this is a key, where the name of its file belongs") as told:
        load_config(path)
    assert "0f0f" not in str(told.value)


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ("tls = false\nca_file = 'good.pem'", "ca_file goes with tls. Add tls = true"),
        ("password_file = 'good.key'", "password_file goes with username"),
    ],
)
def test_what_belongs_together_comes_together(tmp_path: Path, section: str, says: str) -> None:
    secret(tmp_path, "good.key", "0f" * 32)
    secret(tmp_path, "good.pem", "certificate")
    path = written(tmp_path, f'{LEAST}[mqtt]\nhost = "h"\nfleet_key = "good.key"\n{section}\n')
    with pytest.raises(TomlError, match=says):
        load_config(path)


def test_a_broker_leaves_no_room_for_links(tmp_path: Path) -> None:
    secret(tmp_path, "good.key", "0f" * 32)
    links = '[federation]\nengine = "mqtt"\nlisten = ["tcp://0.0.0.0:1"]\n'
    path = written(tmp_path, f'{LEAST}{links}[mqtt]\nhost = "h"\nfleet_key = "good.key"\n')
    with pytest.raises(TomlError, match=r":7: listen is not for the engine mqtt"):
        load_config(path)


@pytest.mark.parametrize("text", ["x = " + "[" * 5000, "x = " + "9" * 5000, "\x00", "\ud800"])
def test_what_no_file_has_is_no_fault_of_ours(tmp_path: Path, text: str) -> None:
    path = tmp_path / "gateway.toml"
    path.write_bytes(text.encode(errors="surrogatepass"))
    assert examine(path)[1]


def test_lines_of_keys_are_known(tmp_path: Path) -> None:
    file = read_config(written(tmp_path, LEAST + '[[mesh]]\nname = "e"\nrelays = ["r2"]\n[dht]\n'))
    assert file.line("relays", "mesh", 1) == 7
    assert file.line("listen", "dht") == 8  # not given: where its table begins
    assert file.line("listen", "metrics") == 1
