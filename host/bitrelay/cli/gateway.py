"""`bitrelay gateway`: join meshes over the internet, and ask the gateway that does it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BitrelayError, CommandFailed
from .gateway_config import check, fleet_key, init
from .gateway_ledger import app as ledger
from .happenings import Happenings, until_read
from .options import JsonFlag
from .output import Output, Values, duration, reporting
from .running import run_until_told

if TYPE_CHECKING:
    from ..gateway.config import GatewayConfig
    from ..gateway.service import GatewayService
    from ..gateway.told import Told

app = typer.Typer(
    help="Join meshes over the internet: what is said in one is heard in the others.", no_args_is_help=True
)
app.command("init")(init)
app.command("check")(check)
app.command("fleet-key")(fleet_key)
app.add_typer(ledger, name="ledger")

StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state",
        help="The folder of the gateway, as its file has it in `state`. Without it this computer's own.",
        show_default=False,
    ),
]


@app.command("run")
def run(
    config: Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="What it is to do: see `init`.")],
    json: JsonFlag = False,
) -> None:
    """Run a gateway until it is told to end; SIGHUP has it read its file again.

    With --json a first line has id, name, listen, meshes and metrics; what happens follows, a line each with `event`.
    """
    with reporting(json) as out:
        run_until_told(_run(out, config), as_service=True)


@app.command("status")
def status(state: StateOption = None, json: JsonFlag = False) -> None:
    """Show the gateway that runs: its meshes and relays, whom it reaches, what waits."""
    with reporting(json) as out:
        done, _ = run_until_told(_told_by(state, "status"))
        if json:
            out.record(done)
            return
        bandwidth, relayed = done["bandwidth"], done["relayed"]
        rows = [
            ("name", done["name"]),
            ("id", done["id"]),
            ("runs for", duration(done["uptime_s"])),
            ("engine", done["engine"]),
            ("listens at", ", ".join(done["listen"]) or "nowhere"),
            ("metrics", done["metrics"] or "off"),
            ("other gateways", str(done["gateways"])),
            ("reaches", ", ".join(done["reachable_meshes"]) or "no other mesh"),
            *(("no link with", f"{where}: {why}") for where, why in done["not_linked"].items()),
            *([("turned away", _counts(done["refused"]))] if done["refused"] else []),
            *(("not trusted", f"{peer_id} at {where}") for peer_id, where in done["untrusted"].items()),
            ("relayed", f"{relayed['up']} frames up, {relayed['down']} down, {relayed['dropped']} dropped"),
            ("stored", _counts(done["stored"]) or "nothing"),
            ("under way", _counts(done["underway"]) or "nothing"),
            ("bandwidth", "; ".join(f"{side} {_bandwidth(bandwidth, side)}" for side in ("local", "internet"))),
            ("load", f"{done['load_percent']} %"),
        ]
        out.table(("", ""), rows)
        columns = ("mesh", "relay", "", "pressure", "uplink", "downlink", "waiting")
        out.table(columns, [row for mesh in done["meshes"] for row in _mesh_rows(mesh)])


@app.command("peers")
def peers(state: StateOption = None, json: JsonFlag = False) -> None:
    """Show the other gateways that it reaches, or did."""
    with reporting(json) as out:
        _, found = run_until_told(_told_by(state, "peers"))
        if json:
            for peer in found:
                out.record(peer)
            return
        columns = ("gateway", "name", "", "meshes", "latency", "load", "sent", "taken", "refused")
        out.table(columns, [_peer_row(peer) for peer in found])


@app.command("traffic")
def traffic(state: StateOption = None, json: JsonFlag = False) -> None:
    """Show what crossed, by class, and what did not, by reason."""
    with reporting(json) as out:
        done, _ = run_until_told(_told_by(state, "traffic"))
        if json:
            out.record(done)
            return
        rows = []
        for kind in done["frames"]["up"]:
            waiting = sum(mesh.get(kind, 0) for mesh in done["waiting"].values())
            crossed = [f"{done['frames'][way][kind]} ({done['bytes'][way][kind]} bytes)" for way in ("up", "down")]
            rows.append((kind, *crossed, str(waiting)))
        out.table(("class", "frames up", "frames down", "waiting"), rows)
        drops = [
            (direction, kind, reason, str(count))
            for direction, kinds in done["drops"].items()
            for kind, reasons in kinds.items()
            for reason, count in reasons.items()
        ]
        if drops:
            out.table(("", "class", "did not cross", "frames"), drops)
        delay = done["delay_ms"]
        if delay["count"]:
            out.line(f"Delay: half within {_bound(delay['p50'])}, 95 % within {_bound(delay['p95'])}.")
        store = done["store"]
        out.line(f"Stored: {_counts(store['waiting']) or 'nothing'}; {store['expired']} expired.")


async def _run(out: Output, path: Path) -> None:
    import asyncio
    import signal
    from time import time

    from ..dht.state_directory import StateDirectory
    from ..gateway.service import GatewayService
    from ..gateway.state import default_directory
    from ..gateway.told import Trouble
    from .mining_view import MiningView

    loop = asyncio.get_running_loop()
    # The file may have changed since it was read: who asks for it while we start has it read when we are there.
    asked_again = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, asked_again.set)
    config = await _checked(out, path)
    happened: Happenings[Told] = Happenings(out)
    directory = StateDirectory(config.state or default_directory(), time, "gateway")
    try:
        with MiningView() as view:
            service = GatewayService(path, config, directory, tell=happened.tell, on_progress=view.show)
            await service.start()
        try:
            loop.add_signal_handler(signal.SIGHUP, service.reload)
            if asked_again.is_set():
                service.reload()
            await until_read()
            _tell_up(out, service)
            while True:
                _tell(out, await happened.next())
        finally:
            await service.stop()
            for left in happened.rest():
                if isinstance(left, Trouble):
                    out.note(f"trouble as it ended: {left.error}")
    finally:
        directory.close()


async def _checked(out: Output, path: Path) -> "GatewayConfig":
    # All that is wrong is told before anything starts. A relay that is not there is waited for, so those that are to be
    # in reach of Bluetooth need not be looked for.
    from ..gateway.check import About
    from ..gateway.check import check as look
    from ..gateway.config_file import load_config

    findings = await look(path, listen_s=0)
    wrong = [each for each in findings if each.exit_code is not None and each.about is not About.RELAY]
    for finding in findings:
        if finding not in wrong[:1]:
            out.note(str(finding))
    if wrong:
        first = wrong[0]
        assert first.exit_code is not None
        where = f"{first.path}:{first.line}" if first.line else str(first.path)
        raise CommandFailed(first.what, exit_code=first.exit_code, device=where, hint=first.hint)
    return load_config(path)


def _tell_up(out: Output, service: "GatewayService") -> None:
    gateway = service.gateway
    listen = [str(address) for address in service.bound]
    meshes = [mesh.name for mesh in gateway.config.meshes]
    if out.as_json:
        out.record(
            {
                "id": gateway.own,
                "name": gateway.config.name,
                "listen": listen,
                "meshes": meshes,
                "metrics": service.metrics,
            }
        )
    else:
        where = f", listens at {', '.join(listen)}" if listen else ""
        out.line(f"Gateway {gateway.config.name} ({gateway.own.hex()}) joins {', '.join(meshes)}{where}.")


def _tell(out: Output, told: "Told") -> None:
    from ..gateway import told as t

    match told:
        case t.GatewayJoined(view):
            meshes = [mesh.name for mesh in view.hello.meshes]
            event: Values = {"event": "gateway_joined", "id": view.peer_id, "name": view.hello.name, "meshes": meshes}
            text = f"reaches {view.hello.name or view.peer_id.hex()[:16]}, which joins {', '.join(meshes) or 'no mesh'}"
        case t.GatewayLost(peer_id, reason):
            event = {"event": "gateway_lost", "id": peer_id, "reason": reason}
            text = f"lost {peer_id.hex()[:16]}: {reason}"
        case t.RelayUp(mesh, relay):
            event = {"event": "relay_up", "mesh": mesh, "relay": relay}
            text = f"{mesh}: {relay} answers"
        case t.RelayLost(mesh, relay, why):
            event = {"event": "relay_lost", "mesh": mesh, "relay": relay, "why": why}
            text = f"{mesh}: {relay} does not answer: {why}"
        case t.Throttled(peer_id, name, refused):
            event = {"event": "throttled", "id": peer_id, "name": name, "refused": refused}
            text = f"{name or peer_id.hex()[:16]} sends more than it may: {refused} frames refused"
        case t.MeshUnreachable(mesh):
            event = {"event": "mesh_unreachable", "mesh": mesh}
            text = f"{mesh} cannot be reached: what is for it waits"
        case t.MeshReachable(mesh, waiting):
            event = {"event": "mesh_reachable", "mesh": mesh, "waiting": waiting}
            text = f"{mesh} can be reached again; {waiting} frames wait for it"
        case t.SetAside(path):
            event = {"event": "set_aside", "path": str(path)}
            text = f"it was damaged and is set aside: {path}"
        case t.Reloaded(changed, restart):
            event = {"event": "reloaded", "changed": changed, "restart": restart}
            text = f"has read its file again: {', '.join(changed) or 'nothing'} changed"
            text += f"; needs a restart for {', '.join(restart)}" if restart else ""
        case t.ReloadRefused(error):
            event = _failure("reload_refused", error)
            text = f"goes on as before, for its file has a mistake: {error}"
        case t.Trouble(error):
            event = _failure("trouble", error)
            text = f"trouble: {error}"
    if out.as_json:
        out.record(event)
    else:
        out.line(text)


def _failure(name: str, error: BitrelayError) -> Values:
    return {"event": name, "error": error.what, "device": error.device, "hint": error.hint}


async def _told_by(state: Path | None, command: str) -> tuple[Any, list[Any]]:
    # What a running gateway answers, and the steps on the way.
    from ..dht.control import request
    from ..dht.state_directory import SOCKET
    from ..gateway.state import default_directory

    answers = request((state or default_directory()) / SOCKET, {"do": command}, timeout=10.0, server="gateway")
    *steps, done = [answer async for answer in answers]
    return done, steps


def _mesh_rows(mesh: Values) -> list[tuple[str, ...]]:
    on = {True: "on", False: "off"}
    common = (on[mesh["uplink"]], on[mesh["downlink"]], str(mesh["waiting"]))
    return [
        (
            mesh["name"],
            relay["name"],
            "up" if relay["up"] else relay["trouble"] or "away",
            f"{relay['pressure']:.0%}",
            *common,
        )
        for relay in mesh["relays"]
    ]


def _peer_row(peer: Values) -> tuple[str, ...]:
    return (
        peer["id"][:16],
        peer["name"],
        ("trusted" if peer["trusted"] else "stranger") if peer["up"] else "away",
        ", ".join(mesh["name"] for mesh in peer["meshes"]),
        "" if peer["latency_ms"] is None else f"{peer['latency_ms']:.0f} ms",
        "" if peer["load_percent"] is None else f"{peer['load_percent']} %",
        f"{peer['frames']['up']}",
        f"{peer['frames']['down']}",
        f"{peer['refused']}",
    )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count)


def _bandwidth(bandwidth: Values, side: str) -> str:
    return f"{bandwidth[f'{side}_mbps']:.3f} of {bandwidth[f'{side}_limit_mbps']:g} Mbit/s"


def _bound(ms: int | None) -> str:
    return "minutes" if ms is None else f"{ms} ms"
