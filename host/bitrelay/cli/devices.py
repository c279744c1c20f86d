"""`bitrelay devices`: what could be talked to, over USB or over Bluetooth."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..ports import HOW_TO_GET_ONE, list_devices
from .options import JsonFlag
from .output import Output, reporting
from .running import run_until_told

if TYPE_CHECKING:
    from ..ble.survey import Heard

_LISTEN_S = 4.0
_BLE_COLUMNS = (
    "id", "name", "service", "signal", "distance", "can", "load", "free links", "version", "address", "heard by",
)  # fmt: skip


def devices(
    ble: Annotated[
        bool, typer.Option("--ble", help="Listen for relays and phones over Bluetooth instead, also in running labs.")
    ] = False,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", min=1.0, max=60.0, help="How long to listen with --ble, 4 s by default."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """List the devices that may be relays: USB serial ports and the virtual boards of running labs.

    Ports are not opened for it. Serial ports over Bluetooth are left out. With --ble it lists who advertises the
    service of relays or phones; the distance is a guess from the signal, good to a factor of two at best.
    """
    with reporting(json) as out:
        if ble:
            _list_heard(out, seconds or _LISTEN_S)
            return
        if seconds is not None:
            raise typer.BadParameter("--seconds goes with --ble")
        found = list_devices()
        if json:
            out.record([asdict(device) for device in found])
        elif not found:
            out.line(f"No device found. {HOW_TO_GET_ONE}.")
        else:
            rows = [(d.name, d.port, d.kind, d.description, d.url) for d in found]
            out.table(("name", "port", "kind", "what it is", "also as"), rows)


def _list_heard(out: Output, seconds: float) -> None:
    from ..ble.survey import survey

    out.remark(f"listening for {seconds:g} s")
    result = run_until_told(survey(seconds))
    for error in result.errors:
        out.note(f"not everything was listened to: {error}")
    if out.as_json:
        out.record([_as_json(one) for one in result.heard])
        return
    if result.named_only:
        out.note("something in reach has a relay's name and does not advertise the service: it is not listed")
    if not result.heard:
        out.line(f"Nobody heard within {seconds:g} s. {HOW_TO_GET_ONE}.")
        return
    out.table(_BLE_COLUMNS, [_as_row(one) for one in result.heard])


def _as_json(one: "Heard") -> dict[str, Any]:
    from ..ble.sighting import capability_names

    peer, beacon = one.peer, one.peer.beacon
    return {
        "id": peer.on_air_id,
        "name": peer.name,
        "rssi": peer.rssi,
        "distance_m": round(peer.distance, 1),
        "services": [service.name.lower() for service in peer.services if service.name],
        "capabilities": capability_names(beacon.capabilities) if beacon else None,
        "load": beacon.load if beacon else None,
        "free_links": beacon.free_links if beacon else None,
        "version": "{}.{}".format(*beacon.version) if beacon else None,
        "address": peer.device_address.lower(),
        "heard_by": one.via,
    }


def _as_row(one: "Heard") -> tuple[str, ...]:
    values = _as_json(one)
    load, free_links = values["load"], values["free_links"]
    return (
        one.peer.on_air_id.hex() if one.peer.on_air_id else "-",
        one.peer.name or "-",
        " ".join(values["services"]),
        f"{one.peer.rssi} dBm",
        _metres(one.peer.distance),
        " ".join(values["capabilities"] or ()) or "-",
        "-" if load is None else f"{load} %",
        "-" if free_links is None else str(free_links),
        values["version"] or "-",
        values["address"],
        one.via,
    )


def _metres(distance: float) -> str:
    return f"{distance:.1f} m" if distance < 10 else f"{distance:.0f} m"
