"""The file that `bitrelay gateway init` writes: every key is in it, those with their default commented out."""

import ipaddress
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from string import Template
from typing import Final

from ..toml_source import BadValue
from . import config_rules as rule

_NAME_IF_NONE: Final = "gateway"


@dataclass(frozen=True, slots=True)
class Where:
    """Where other gateways are: at peer (as the file has it); or where the DHT says that those of a mesh are; or, with
    neither, they come here. bootstrap: a first node of the DHT, if one is known."""

    peer: str | None = None
    mesh: str | None = None
    bootstrap: str | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """name: of the gateway. relay: as the file has it."""

    name: str
    mesh: str
    relay: str
    where: Where

    def next_steps(self, file: str) -> Iterator[str]:
        """What to do with the file now, a line each."""
        where = self.where
        yield f"set downlink = true in {file} if frames of other meshes may come into {self.mesh!r}"
        if where.mesh is not None:
            yield "put the address at which others reach this one into announce, if they can; one of the two must"
            if where.bootstrap is None:
                yield (
                    "put a first node of the DHT into bootstrap, on both: any computer that both can reach "
                    "and that runs `bitrelay node run`. Without one only the local network is searched"
                )
        if where.peer is None:
            yield "put the PeerIds of other gateways into trust: `bitrelay gateway run` tells a gateway's own"
        else:
            yield "have its PeerId trusted by the other gateway: `bitrelay gateway run` tells it"
        yield f"bitrelay gateway check {file}"
        yield f"bitrelay gateway run --config {file}"


def where_others_are(text: str) -> Where:
    """What somebody answers to that question. Raises ValueError."""
    if text.lower() == "none":
        return Where()
    if "/" in text or "@" in text:
        rule.peer(text)
        return Where(peer=text)
    if _looks_like_a_place(text):
        raise BadValue(f"{text!r} could be an address or the name of a mesh", "Give tcp://HOST:PORT for an address")
    return Where(mesh=rule.mesh(text))


def first_node(text: str) -> str | None:
    """A first node of the DHT, as the file has it; None for "none". Raises ValueError."""
    return None if text.lower() == "none" else str(rule.dht_address(text))


def _looks_like_a_place(text: str) -> bool:
    # HOST:PORT, or an IP address: else somebody would look for a mesh of that name for ever.
    host, _, port = text.rpartition(":")
    if host and port.isdecimal():
        return True
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def own_name() -> str:
    """What a gateway on this computer may be called."""
    try:
        return rule.name(socket.gethostname())
    except ValueError:
        return _NAME_IF_NONE


def render(answers: Answers) -> str:
    """The text of the file."""
    where = answers.where
    return _TEMPLATE.substitute(
        name=_toml(answers.name),
        mesh=_toml(answers.mesh),
        relay=_toml(answers.relay),
        listens="# " if where.peer else "",
        dials="" if where.peer else "# ",
        peer=_toml(where.peer or "tcp://192.0.2.1:8765"),
        dht="" if where.mesh else "# ",
        knows="" if where.bootstrap else "# ",
        bootstrap=_toml(where.bootstrap or "udp://192.0.2.1:8766"),
        find=_toml(where.mesh or "another mesh"),
    )


def _toml(text: str) -> str:
    # JSON's form of printable text is TOML's.
    return json.dumps(text, ensure_ascii=False)


_TEMPLATE: Final = Template("""\
# A gateway of bitrelay: what is said in its meshes reaches other meshes over the internet, and theirs reaches it.
# Every key is here. What is commented out has its default, or is an example. docs/gateway-guide.md tells more.

name = $name  # how other gateways call this one
# state = "gateway-state"  # its folder: identity, ledger, frames that wait; without it one of this user's
# difficulty = 16          # bits of proof of work, of its own identity and the least of others'
# local_mbps = 10.0        # what its relays may take at most
# internet_mbps = 100.0    # what other gateways may take and send at most

# One of these for each mesh that it joins.
[[mesh]]
name = $mesh  # alike on all gateways of this mesh
relays = [$relay]  # ways into it: names or ports of `bitrelay devices`, or ble://ADDRESS
# geohash = "u33d"         # where it is, told to other gateways, for those who subscribe to a place
# uplink = true            # whether what it says goes out
# subscribe = ["*"]        # whose broadcasts it wants: names of meshes, "geo:u33", "*" for all
# announce_every_s = 60.0  # how often a phone's announce crosses at most
# As long as downlink is false, nothing comes from the internet into this mesh. The air has room for a few frames a
# second, the internet for thousands: one careless or hostile gateway would silence everybody in reach. When it is
# true, the budgets below hold.
downlink = false
# frames_per_minute = 30   # of all other meshes together
# airtime_percent = 5.0    # of the time
# author_per_minute = 15   # of one phone; half of frames_per_minute if it is not given
# gateway_per_minute = 30  # of one other gateway; all of frames_per_minute if it is not given
# max_ttl = 6              # hops that a frame has left at most: with 1 only those beside the relay hear it
# queue = 256              # frames that may wait for their turn

# Links with other gateways.
[federation]
# engine = "links"         # or "mqtt": over a broker of yours, see [mqtt]
${listens}listen = ["tcp://0.0.0.0:8765"]  # where others come in: tcp, udp, ws, quic
${dials}peers = [$peer]  # gateways to dial; better as "PEERID@tcp://HOST:PORT"
# trust = []               # PeerIds, 64 hex digits, of those that may link and share the work in a mesh
# open = false             # true: strangers may link, too, within their budgets
# announce = ["tcp://192.0.2.1:8765"]  # where the DHT says that this one is reached, as others see it
# fee = 1                  # asked for a frame; it is counted, nobody pays
# max_load = 0.8           # of other gateways, those are chosen that have less of their budget in use,
# min_uptime = 0.95        # were there for a larger share of the time,
# max_fee = 10             # and ask for no more
# preference = "most-reliable"  # or "lowest-latency", "lowest-cost", "highest-bandwidth"
# links = 50               # at most

# Finds gateways by the names of their meshes, without anybody's server.
${dht}[dht]
${dht}listen = ["udp://0.0.0.0:8766"]  # once for IPv4, once for IPv6
${dht}find = [$find]  # meshes to look for beside its own and those that are subscribed to by name
# It must know one node to begin with: any computer that others can reach and that runs `bitrelay node run`.
${knows}bootstrap = [$bootstrap]  # whom to ask first; those that it knew are asked, too
${dht}lan = true  # look in the local network, too; false if it is not given

# A broker of MQTT 5, for engine = "mqtt".
# [mqtt]
# host = "broker.example"
# port = 1883              # 8883 with tls
# tls = false
# ca_file = "ca.pem"       # who signed the broker's certificate, if this system does not know
# username = "gateway"
# password_file = "broker.password"  # one line, in a file that its owner alone can read
# fleet_key = "fleet.key"  # the same for all gateways: `bitrelay gateway fleet-key fleet.key` makes it
# topic = "bitrelay"       # the first part of all topics

# Frames for meshes that cannot be reached wait here.
[store]
# frames = 10000
# bytes = 4194304
# age_s = 110.0            # phones refuse what is older than 120 s

# What was carried, signed and chained. It counts; it moves no value.
[ledger]
# enabled = true
# keep_s = 3600.0          # how long entries are kept
# base_fee = 1             # of a frame that came one hop

# Numbers for Prometheus.
[metrics]
# listen = "127.0.0.1:9464"  # or "off"
""")
