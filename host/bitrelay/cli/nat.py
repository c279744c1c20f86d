"""`bitrelay node nat`: what is between this computer and the internet."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import BitrelayError, NoDevice
from .node import StateOption, told_by
from .options import JsonFlag
from .output import Values, reporting
from .running import run_until_told

if TYPE_CHECKING:
    from ..transports.address import Udp

_MOST_NODES = 4


def nat(
    stun: Annotated[
        list[str] | None,
        typer.Option(
            "--stun", metavar="ADDR", help="udp://HOST:PORT of a STUN server; may be repeated.", show_default=False
        ),
    ] = None,
    upnp: Annotated[bool, typer.Option("--upnp", help="Ask the router for a way in, too, and give it back.")] = False,
    state: StateOption = None,
    json: JsonFlag = False,
) -> None:
    """Find out what kind of address translation this computer is behind.

    Without --stun nodes are asked that the running node knows: a node answers as a STUN server does. With one address
    of a server each it cannot be told whether strangers get in; a server with two addresses can tell.
    """
    with reporting(json) as out:
        from ..dht.bootstrap import udp_address

        found = run_until_told(_find_out(state, tuple(map(udp_address, stun or ())), upnp))
        if json:
            out.record(found)
            return
        rows = [
            ("translation", str(found["meaning"])),
            ("this computer is", str(found["local"])),
            ("is seen at", ", ".join(found["seen"]) or "nobody answered"),
            ("asked", ", ".join(found["asked"])),
        ]
        if upnp:
            rows.append(("way in", ": ".join(filter(None, (found["way_in"] or "none", found["why_no_way_in"])))))
        out.table(("", ""), rows)


async def _find_out(state: Path | None, servers: "tuple[Udp, ...]", upnp: bool) -> Values:
    from ..nat.kind import nat_kind
    from ..nat.stun_client import find_out

    asked = servers or await _known_nodes(state)
    findings = await find_out(asked)
    kind = nat_kind(findings)
    found: Values = {
        "kind": kind.name.lower(),
        "meaning": str(kind),
        "local": str(findings.local),
        "seen": [str(address) for address in dict.fromkeys(findings.mapped)],
        "asked": [str(address) for address in asked],
    }
    if upnp:
        from ..nat.upnp import try_way_in

        found |= {"way_in": None, "why_no_way_in": None}
        try:
            way, stays = await try_way_in(findings.local.port)
            found |= {"way_in": str(way.external), "why_no_way_in": stays and f"it was not given back: {stays.what}"}
        except BitrelayError as error:
            found["why_no_way_in"] = error.what
    return found


async def _known_nodes(state: Path | None) -> "tuple[Udp, ...]":
    from ..dht.bootstrap import udp_address

    _, peers = await told_by(state, {"do": "peers"})
    first = [udp_address(peer["addresses"][0]) for peer in peers if peer["addresses"]]
    # From different hosts: two ports of one host are seen alike by some translations that are not cones.
    by_host = {address.host: address for address in first}
    if not by_host:
        raise NoDevice("the node knows no others that could be asked", hint="Name a STUN server with --stun.")
    return tuple(by_host.values())[:_MOST_NODES]
