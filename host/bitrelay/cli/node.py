"""`bitrelay node`: run a node of the DHT, and have one that runs do something."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BadData, CheckFailed
from .happenings import Happenings, until_read
from .options import JsonFlag
from .output import Output, Values, duration, reporting, utc
from .running import run_until_told

if TYPE_CHECKING:
    from ..dht.service import Settings, Told
    from ..transports.address import Udp

app = typer.Typer(
    help="Find other hosts, and small signed values, without anybody's server: a node of the DHT.", no_args_is_help=True
)

StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state",
        help="The folder of the node: what it knows, and its identity. Without it this computer's own.",
        show_default=False,
    ),
]
KindOption = Annotated[str, typer.Option("--kind", help="Of the value: gateway, relays or application.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The name of the value, at most 64 bytes.")]

_LOWEST_IN_DEVELOPMENT, _BASE, _HIGHEST = 8, 16, 24


@app.command("run")
def run(
    listen: Annotated[
        list[str] | None,
        typer.Option(
            "--listen", metavar="ADDR", help="udp://IP:PORT to listen at; once for IPv4, once for IPv6, if you like.",
            show_default="udp://0.0.0.0:8766",
        ),
    ] = None,
    bootstrap: Annotated[
        list[str] | None,
        typer.Option(
            "--bootstrap", metavar="ADDR", help="udp://HOST:PORT of a first node; may be repeated.", show_default=False
        ),
    ] = None,
    peers: Annotated[
        Path | None,
        typer.Option("--peers", metavar="FILE", help="A file of first nodes, one address a line.", show_default=False),
    ] = None,
    lan: Annotated[
        bool, typer.Option("--lan/--no-lan", help="Find nodes in the local network, and let them find this one.")
    ] = False,
    relay: Annotated[
        str | None,
        typer.Option(
            "--relay", metavar="PORT", help="A relay's port: find nodes in its mesh, and let them find this one.",
            show_default=False,
        ),
    ] = None,
    state: StateOption = None,
    difficulty: Annotated[
        int,
        typer.Option(
            "--difficulty", min=_LOWEST_IN_DEVELOPMENT, max=_HIGHEST,
            help="Zero bits of proof of work, its own and the others'. Below 16 is for labs: nobody else accepts it.",
        ),
    ] = _BASE,
    one_host: Annotated[
        bool, typer.Option("--one-host", help="For labs of many nodes at one address: strangers there have no limits.")
    ] = False,
    json: JsonFlag = False,
) -> None:  # fmt: skip
    """Run a node until Ctrl-C. With --json a first line has id, listen and udp; what happens follows, a line each."""
    with reporting(json) as out:
        from ..dht.bootstrap import read_addresses, udp_address
        from ..dht.flood import FloodLimits
        from ..dht.service import Settings
        from ..transports.address import Serial

        first = tuple(map(udp_address, bootstrap or ())) + (read_addresses(peers) if peers else ())
        settings = Settings(
            tuple(map(udp_address, listen or ("udp://0.0.0.0:8766",))),
            first,
            lan,
            relay=None if relay is None else Serial(relay),
            difficulty=difficulty,
            limits=FloodLimits.one_host() if one_host else FloodLimits(),
        )
        run_until_told(_run(out, state, settings))


@app.command("put")
def put(
    name: NameArgument,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="At most 512 bytes: text, or with --hex hex digits.")],
    kind: KindOption = "application",
    as_hex: Annotated[bool, typer.Option("--hex", help="VALUE is hex digits.")] = False,
    lifetime: Annotated[int, typer.Option("--lifetime", min=1, max=86_400, help="Seconds until it expires.")] = 86_400,
    state: StateOption = None,
    json: JsonFlag = False,
) -> None:
    """Put a value under a name, signed by the node's identity, in place of the one that it put before."""
    with reporting(json) as out:
        from ..dht.messages import MAX_DATA

        # Bytes that are no text come as they were typed.
        data = _hex(value, "VALUE") if as_hex else os.fsencode(value)
        if len(data) > MAX_DATA:
            raise BadData(f"VALUE has {len(data)} bytes: a value has at most {MAX_DATA}")
        request = {"do": "put", "kind": kind, "name": name, "data": data.hex(), "lifetime_s": lifetime}
        done, _ = run_until_told(told_by(state, request))
        if json:
            out.record(done)
        else:
            out.line(f"{done['stored']} nodes keep it until {utc(done['expires_at'] * 1000)}.")


@app.command("get")
def get(
    name: NameArgument,
    kind: KindOption = "application",
    owner: Annotated[
        str | None,
        typer.Option("--owner", metavar="KEY", help="The value of this Ed25519 key alone.", show_default=False),
    ] = None,
    state: StateOption = None,
    json: JsonFlag = False,
) -> None:
    """Get the values under a name, one of each owner. Ends with exit code 1 if there is none."""
    with reporting(json) as out:
        done, _ = run_until_told(told_by(state, {"do": "get", "kind": kind, "name": name, "owner": owner}))
        if not done["values"]:
            raise CheckFailed(f"there is no value of this kind under {name!r}")
        if json:
            out.record(done)
            return
        for value in done["values"]:
            out.line(f"{value['owner'][:16]}  {_shown(value['data'])}")


@app.command("lookup")
def lookup(
    node_id: Annotated[str, typer.Argument(metavar="ID", help="The id of a node, or a key: 64 hex digits.")],
    trace: Annotated[bool, typer.Option("--trace", help="Tell every question.")] = False,
    paths: Annotated[
        int | None,
        typer.Option("--paths", min=1, max=8, help="Disjoint paths; without it the node's 4.", show_default=False),
    ] = None,
    state: StateOption = None,
    json: JsonFlag = False,
) -> None:
    """Find the nodes nearest to an id."""
    with reporting(json) as out:
        request: Values = {"do": "lookup", "id": node_id, "trace": trace}
        done, steps = run_until_told(told_by(state, request | ({} if paths is None else {"paths": paths})))
        if json:
            for step in steps:
                out.record(step)
            out.record(done)
            return
        if trace:
            columns = ("path", "depth", "node", "bits shared", "address", "", "told")
            out.table(columns, [_step(step) for step in steps])
        out.table(("nearest nodes", "address"), [(found["id"], _first(found)) for found in done["closest"]])
        out.line(
            f"{done['hops']} hops, {done['messages']} questions, {done['failures']} in vain, {done['seconds']:.2f} s"
        )


@app.command("peers")
def peers_(state: StateOption = None, json: JsonFlag = False) -> None:
    """Show the nodes that the node knows, farthest first."""
    with reporting(json) as out:
        _, peers = run_until_told(told_by(state, {"do": "peers"}))
        if json:
            for peer in peers:
                out.record(peer)
            return
        columns = ("node", "address", "bits shared", "reputation", "seen", "answers in")
        out.table(columns, [_peer(peer) for peer in peers])


@app.command("crawl")
def crawl(
    seconds: Annotated[int, typer.Option("--seconds", min=1, max=240, help="For how long at most.")] = 60,
    interval: Annotated[
        float, typer.Option("--interval", min=0.05, max=60, help="Seconds from one lookup to the next.")
    ] = 1.0,
    state: StateOption = None,
    json: JsonFlag = False,
) -> None:
    """Find out who is in the network: look up everybody who is found, one after the other, at a measured pace."""
    with reporting(json) as out:
        request = {"do": "crawl", "seconds": seconds, "interval_ms": round(interval * 1000)}
        done, found = run_until_told(told_by(state, request))
        if json:
            for peer in found:
                out.record(peer)
            out.record(done)
            return
        out.table(
            ("node", "address", "bits that differ"), [(p["id"], _first(p), str(p["hop_distance"])) for p in found]
        )
        more = f", {done['left']} not looked up" if done["left"] else ""
        out.line(
            f"{done['peers']} nodes by {done['crawled']} lookups{more}; an estimate says {done['estimated_size']}."
        )


@app.command("status")
def status(state: StateOption = None, json: JsonFlag = False) -> None:
    """Show the node: its id and addresses, what it keeps, and what it has sent and dropped."""
    with reporting(json) as out:
        done, _ = run_until_told(told_by(state, {"do": "status"}))
        if json:
            out.record(done)
            return
        dropped = done["datagrams"]["dropped"]
        rows = [
            ("id", done["id"]),
            ("listens at", ", ".join(done["listen"])),
            ("others see it at", ", ".join(done["seen"]) or "not known yet"),
            ("knows", f"{done['peers']} nodes of about {done['estimated_size']}"),
            ("keeps", f"{done['values']} values, {done['own_values']} of its own"),
            ("datagrams", f"{done['datagrams']['sent']} sent, {done['datagrams']['received']} received"),
            ("dropped", ", ".join(f"{why} {count}" for why, count in dropped.items()) or "none"),
        ]
        out.table(("", ""), rows)


async def _run(out: Output, state: Path | None, settings: "Settings") -> None:
    from time import time

    from ..dht.commands import Commands
    from ..dht.control import ControlServer
    from ..dht.service import NodeService, Trouble
    from ..dht.state_directory import StateDirectory, default_directory
    from ..identity.local import identity_path
    from .mining_view import MiningView

    happened: Happenings[Told] = Happenings(out)
    directory = StateDirectory(state or default_directory(), time)
    try:
        with MiningView() as view:
            path = directory.identity if state else identity_path()
            service = NodeService(directory, path, settings, tell=happened.tell, on_progress=view.show)
            await service.start()
        try:
            control = ControlServer(directory.socket, Commands(service).handle)
            await control.start()
            try:
                await until_read()
                _tell_up(out, service.network.contact.node_id, service.network.bound)
                while True:
                    _tell(out, await happened.next())
            finally:
                await control.close()
        finally:
            await service.stop()
            for left in happened.rest():
                if isinstance(left, Trouble):
                    out.note(f"trouble as it ended: {left.error}")
    finally:
        directory.close()


def _tell_up(out: Output, node_id: bytes, bound: "tuple[Udp, ...]") -> None:
    from ..transports.address import Udp

    listen = bound[0]
    # Every address of this computer is listened at: loopback is one that works here.
    here = Udp({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host), listen.port)
    if out.as_json:
        more = {"addresses": [str(address) for address in bound]}
        out.record({"id": node_id, "listen": str(listen), "udp": str(here)} | more)
    else:
        out.line(f"Node {node_id.hex()} listens at {', '.join(map(str, bound))}. Ctrl-C ends it.")


def _tell(out: Output, told: "Told") -> None:
    from ..dht import events, service

    match told:
        case events.NodeAdded(contact):
            addresses = [str(address) for address in contact.addresses]
            event: Values = {"event": "node_added", "id": contact.node_id, "addresses": addresses}
            text = f"knows {contact.node_id.hex()[:16]} at {', '.join(addresses)}"
        case events.NodeLost(node_id):
            event = {"event": "node_lost", "id": node_id}
            text = f"lost {node_id.hex()[:16]}"
        case events.ValueKept(value):
            event = {"event": "value_kept", "kind": value.kind, "name": value.name, "owner": value.owner}
            text = f"keeps {value.name!r} of {value.owner.hex()[:16]}"
        case service.Joined(nodes):
            event = {"event": "joined", "nodes": nodes}
            text = f"is in the network: knows {nodes} nodes" if nodes else "is alone until others come"
        case service.Dropped(what):
            event = {"event": "dropped", "what": what}
            text = f"dropped: {what}"
        case service.Trouble(error):
            event = {"event": "trouble", "error": error.what, "hint": error.hint}
            text = f"trouble: {error}"
    if out.as_json:
        out.record(event)
    else:
        out.line(text)


async def told_by(state: Path | None, request: Values) -> tuple[Any, list[Any]]:
    # What a running node answers, and the steps on the way.
    from ..dht.control import request as ask
    from ..dht.state_directory import SOCKET, default_directory

    answers = ask((state or default_directory()) / SOCKET, request)
    *steps, done = [answer async for answer in answers]
    return done, steps


def _hex(text: str, name: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise BadData(f"{name} is not hex digits") from None


def _shown(data: str) -> str:
    raw = bytes.fromhex(data)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return data
    return text if text.isprintable() else data


def _first(contact: Values) -> str:
    return str(contact["addresses"][0]) if contact["addresses"] else ""


def _step(step: Values) -> tuple[str, ...]:
    path = str(step["path"] + 1) if step["path"] >= 0 else "joined"
    told = str(step["told"]) if step["told"] else ""
    return path, str(step["depth"]), step["id"][:16], str(step["bucket"]), _first(step), step["outcome"], told


def _peer(peer: Values) -> tuple[str, ...]:
    from time import time

    seen = f"{duration(max(0.0, time() - peer['last_seen']))} ago"
    rtt = "" if peer["rtt_ms"] is None else f"{peer['rtt_ms']:.0f} ms"
    return peer["id"][:16], _first(peer), str(peer["bucket"]), f"{peer['reputation']:.2f}", seen, rtt
