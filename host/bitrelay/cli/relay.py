"""`bitrelay info`, `stats`, `links`, `send` and `restart`: one question, one answer."""

import secrets
import time
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import BadData, CheckFailed
from .decode import hex_bytes
from .options import JsonFlag, PortOption, TimeoutOption, with_console
from .output import Output, Values, duration, plain, reporting, utc

if TYPE_CHECKING:
    from ..console import Console

# The longest attribute value of Bluetooth (Core specification, Vol 3, Part F, 3.2.9).
_MAX_VALUE = 512

_LINK_COLUMNS = (
    "conn",
    "role",
    "service",
    "mode",
    "address",
    "owner",
    "state",
    "rssi",
    "mtu",
    "rx_frames",
    "tx_frames",
    "queued",
    "dropped",
)


def info(port: PortOption = None, timeout: TimeoutOption = 5.0, json: JsonFlag = False) -> None:
    """Show which relay this is: name, firmware, chip, address, uptime, memory."""
    with reporting(json) as out:

        async def work(console: "Console") -> Values:
            return console.info | {"port": console.port}

        relay = _with_addresses(with_console(port, timeout, work))
        if json:
            out.record(relay)
        else:
            out.table(("", ""), _info_rows(relay))


def stats(
    port: PortOption = None,
    timeout: TimeoutOption = 5.0,
    json: JsonFlag = False,
    all_counters: Annotated[bool, typer.Option("--all", help="Show counters that are zero, too.")] = False,
) -> None:
    """Show what the relay has counted: frames in and out, and every drop by its reason."""
    with reporting(json) as out:

        async def work(console: "Console") -> Values:
            from shared_protocol import console as messages

            return await console.request(messages.STATS, timeout_s=timeout)

        answer = with_console(port, timeout, work)
        counters = _named_counters(answer.pop("counters", []))
        if json:
            out.record(answer | {"counters": counters})
        else:
            rows = _stats_rows(answer)
            rows += [(name, f"{count:,}") for name, count in counters.items() if count or all_counters]
            out.table(("", ""), rows)


def links(port: PortOption = None, timeout: TimeoutOption = 5.0, json: JsonFlag = False) -> None:
    """Show the relay's Bluetooth links."""
    with reporting(json) as out:

        async def work(console: "Console") -> list[Values]:
            from shared_protocol import console as messages

            return await console.request_list(messages.LINKS, timeout_s=timeout)

        found = [_with_addresses(link) for link in with_console(port, timeout, work)]
        if json:
            out.record(found)
        elif not found:
            out.line("No link is up.")
        else:
            columns = [column for column in _LINK_COLUMNS if any(column in link for link in found)]
            rows = [
                [str(plain(link.get(column, ""))) for column in columns] + [duration(link.get("age_s", 0))]
                for link in found
            ]
            out.table((*columns, "age"), rows)


def send(
    port: PortOption = None,
    text: Annotated[str | None, typer.Option("--text", help="Send this as a public message.")] = None,
    hex_frame: Annotated[str | None, typer.Option("--hex", help="Send these bytes, a whole frame.")] = None,
    sender: Annotated[
        str | None, typer.Option("--sender", help="Sender of the message, 16 hex digits. Default: a random one.")
    ] = None,
    timeout: TimeoutOption = 5.0,
    json: JsonFlag = False,
) -> None:
    """Have the relay send a frame on all of its links.

    A message made from --text is not signed: relays carry it, phone apps that insist on signatures do not show it.
    """
    with reporting(json) as out:
        frame = _frame_to_send(text, hex_frame, sender)

        async def work(console: "Console") -> Values:
            from shared_protocol import console as messages

            return await console.request(messages.SEND, {"frame": frame}, timeout_s=timeout)

        count = int(with_console(port, timeout, work).get("links", 0))
        _report_sent(out, frame, count)


def restart(port: PortOption = None, timeout: TimeoutOption = 30.0, json: JsonFlag = False) -> None:
    """Restart the relay and wait until it is back."""
    with reporting(json) as out:

        async def work(console: "Console") -> Values:
            from ..relay_files import restart as restart_relay

            name = console.info.get("name")
            async with await restart_relay(console, timeout) as back:
                return {"port": back.port, "name": name, "reset_cause": back.info.get("reset_cause")}

        relay = with_console(port, min(timeout, 5.0), work)
        if json:
            out.record(relay)
        else:
            out.line(f"{relay['name'] or relay['port']} has restarted and answers.")


def _report_sent(out: Output, frame: bytes, count: int) -> None:
    if count == 0:
        raise CheckFailed("the relay has no link: the frame went nowhere", hint="`bitrelay links` shows its links")
    if out.as_json:
        out.record({"links": count, "bytes": len(frame), "frame": frame})
    else:
        out.line(f"Sent {len(frame)} bytes on {count} link{'s' if count > 1 else ''}.")


def _frame_to_send(text: str | None, hex_frame: str | None, sender: str | None) -> bytes:
    from shared_protocol import frame

    if (text is None) == (hex_frame is None):
        raise typer.BadParameter("give one of --text and --hex")
    if text is None:
        if sender is not None:
            raise typer.BadParameter("--sender goes with --text; a frame names its own sender")
        return _whole_frame(hex_bytes(hex_frame or "", "--hex"))
    sender_id = hex_bytes(sender, "--sender") if sender is not None else secrets.token_bytes(frame.ID_SIZE)
    if len(sender_id) != frame.ID_SIZE:
        raise typer.BadParameter("--sender is 16 hex digits")
    now_ms = int(time.time() * 1000)
    try:
        payload = text.encode()
    except UnicodeEncodeError:
        raise BadData("--text is not valid UTF-8") from None
    rest = frame.encode(frame.TYPE_MESSAGE, frame.MAX_TTL, now_ms, sender_id, b"")
    _demand_one_value(len(rest) + len(payload))
    return _whole_frame(frame.encode(frame.TYPE_MESSAGE, frame.MAX_TTL, now_ms, sender_id, payload))


def _demand_one_value(size: int) -> None:
    if size > _MAX_VALUE:
        raise BadData(f"a frame of {size} bytes; one Bluetooth value holds {_MAX_VALUE}", hint="Shorten it")


def _whole_frame(data: bytes) -> bytes:
    from shared_protocol import frame

    _demand_one_value(len(data))
    header = frame.Header()
    length = header.parse(data, len(data))
    if length < 0:
        raise BadData(f"not a frame: {frame.REASONS.get(length, length)}", hint="`bitrelay decode` tells more")
    return data


def _with_addresses(values: Values) -> Values:
    address = values.get("address")
    return values | {"address": address.hex(":")} if isinstance(address, bytes) else values


def _named_counters(counts: list[int]) -> dict[str, int]:
    # A relay of another release may count more or less than we know of.
    from bitrelay.counters import NAMES

    return {NAMES[i] if i < len(NAMES) else f"counter_{i}": count for i, count in enumerate(counts)}


def _info_rows(relay: Values) -> list[tuple[str, str]]:
    # A relay tells what it knows: what is missing is left out.
    rows = [
        ("name", relay.get("name")),
        ("port", relay.get("port")),
        ("firmware", f"bitrelay {relay.get('version', '?')}, console protocol {relay.get('protocol', '?')}"),
        ("program", relay.get("build") or None),
        ("chip", relay.get("chip")),
        ("MicroPython", relay.get("micropython")),
        ("unique id", plain(relay.get("unique_id"))),
        ("address", relay.get("address")),
        ("links", f"at most {relay['max_links']}" if "max_links" in relay else None),
        ("heap", _heap(relay)),
        ("up", duration(relay["uptime_s"]) if "uptime_s" in relay else None),
        ("last start", relay.get("reset_cause")),
        ("settings", _settings_state(relay)),
        ("clock", _clock(relay)),
        ("on-air id", plain(relay.get("on_air_id"))),
        ("peer id", plain(relay.get("peer_id"))),
        ("announces", _announces(relay)),
    ]
    return [(name, str(value)) for name, value in rows if value is not None]


def _clock(relay: Values) -> str:
    told = utc(relay.get("time_ms") or 0)
    if told is None:
        return "not set"
    source = {"host": ", from a computer", "mesh": ", from those around"}.get(relay.get("clock", ""), "")
    return told + source + ("; most of those around say otherwise" if relay.get("clock_disputed") else "")


def _announces(relay: Values) -> str | None:
    silent = relay.get("silent")
    if silent is None:
        return None
    if silent:
        return f"no: {silent}"
    count = relay.get("neighbors", 0)
    return f"yes, with {count} known neighbor{'' if count == 1 else 's'}"


def _settings_state(relay: Values) -> str | None:
    told = []
    if relay.get("trial_s") is not None:
        told.append(f"on trial: they revert in {duration(relay['trial_s'])} unless confirmed (bitrelay config confirm)")
    if relay.get("restart"):
        told.append("some take effect at the next start (bitrelay restart)")
    return "; ".join(told) or None


def _heap(values: Values) -> str | None:
    if "heap_used" not in values or "heap_free" not in values:
        return None
    return f"{values['heap_used'] / 1024:.0f} KiB used, {values['heap_free'] / 1024:.0f} KiB free"


def _stats_rows(answer: Values) -> list[tuple[str, str]]:
    slots = [str(answer.get(name, "?")) for name in ("slots_free", "slots_total", "slots_low")]
    return [
        ("up", duration(answer.get("uptime_s", 0))),
        ("heap", _heap(answer) or "?"),
        ("frame slots", f"{slots[0]} of {slots[1]} free, {slots[2]} at the lowest"),
        ("loop late", f"{answer.get('loop_late_ms', '?')} ms at most"),
    ]
