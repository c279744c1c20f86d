"""`bitrelay decode`: what the bytes of a frame say."""

import sys
from collections.abc import Iterator
from string import hexdigits
from typing import Annotated, Any

import typer

from ..errors import BadData, ExitCode
from .options import JsonFlag
from .output import Output, printable, reporting, utc

# The longest payload that an app takes has 10 MiB; in hex, with the rest of the frame and room for spaces.
_MAX_LINE = 32 << 20
_MESSAGE = 0x02


def decode(
    frame: Annotated[str, typer.Argument(metavar="HEX|-", help="The frame in hex, or -: one per line of input.")],
    json: JsonFlag = False,
) -> None:
    """Show the fields of a frame. A frame that is not valid ends with exit code 65."""
    with reporting(json) as out:
        valid, shown = True, 0
        for number, text in _input_lines() if frame == "-" else [(None, frame)]:
            fields = _fields(text)
            if "error" in fields:
                valid = False
                _show_failure(out, fields, number)
            else:
                _show_frame(out, fields, first=shown == 0)
                shown += 1
        if not valid:
            raise typer.Exit(ExitCode.BAD_DATA)


def hex_bytes(text: str, name: str) -> bytes:
    """The bytes of hex digits; spaces and colons between them are ignored. Raises BadData, with the input's name."""
    digits = "".join(text.replace(":", " ").split())
    if any(digit not in hexdigits for digit in digits):
        raise BadData(f"{name} is not a string of hex digits")
    if len(digits) % 2:
        raise BadData(f"{name} has an odd number of hex digits, {len(digits)}")
    return bytes.fromhex(digits)


def decoded(frame: bytes) -> dict[str, Any]:
    """The fields of a frame under the names of bitrelay.decode, or `error` with the reason alone.

    `trailing` is the number of bytes behind the frame, which apps add to hide its length; `text` is
    what a public message says.
    """
    from ..decode import decode as decode_frame

    try:
        fields = decode_frame(frame)
    except BadData as error:
        return {"error": error.what}
    fields["trailing"] = len(frame) - fields["frame_len"]
    if fields["type"] == _MESSAGE:
        fields["text"] = bytes.fromhex(fields["payload"]).decode(errors="backslashreplace")
    return fields


def frame_line(fields: dict[str, Any]) -> str:
    """A decoded frame on one line."""
    if "error" in fields:
        return f"not a frame: {fields['error']}"
    kind = _type(fields["version"], fields["type"])
    parts = [kind, _sent(fields["timestamp"]), f"TTL {fields['ttl']}", f"from {fields['sender']}"]
    if fields.get("recipient"):
        parts.append(f"to {fields['recipient']}")
    if fields.get("route"):
        parts.append(f"route of {len(fields['route'])}")
    parts.append(f"{fields['payload_len']} bytes")
    if fields.get("signature"):
        parts.append("signed")
    if fields["trailing"]:
        parts.append(f"{fields['trailing']} bytes of padding")
    return ", ".join(parts) + (f': "{printable(fields["text"])}"' if "text" in fields else "")


def _type(version: int, number: int) -> str:
    from ..decode import type_name

    return f"0x{number:02x} {type_name(version, number) or 'of unknown type'}"


def _sent(timestamp: int) -> str:
    return utc(timestamp) or f"timestamp {timestamp}"


def _input_lines() -> Iterator[tuple[int, str]]:
    if sys.stdin is None:
        raise BadData("there is no input to read from")
    empty, number = True, 0
    while line := _read_line():
        number += 1
        if line.strip():
            empty = False
            yield number, line
    if empty:
        raise BadData("the input is empty")


def _read_line() -> str:
    try:
        line = sys.stdin.readline(_MAX_LINE)
    except UnicodeDecodeError:
        raise BadData("the input is not text") from None
    if len(line) == _MAX_LINE:
        raise BadData(f"the input has a line of more than {_MAX_LINE} characters")
    return line


def _fields(text: str) -> dict[str, Any]:
    try:
        return decoded(hex_bytes(text, "the text"))
    except BadData as error:
        return {"error": error.what}


def _show_failure(out: Output, fields: dict[str, Any], line: int | None) -> None:
    where = {} if line is None else {"line": line}
    told = f"not a frame: {fields['error']}"
    out.failure(told if line is None else f"line {line}: {told}", ExitCode.BAD_DATA, fields | where)


def _show_frame(out: Output, fields: dict[str, Any], first: bool) -> None:
    if out.as_json:
        out.record(fields)
        return
    if not first:
        out.line("")
    rows = [(name, _shown(name, fields)) for name, value in fields.items() if name != "trailing" or value]
    out.table(("", ""), rows)


def _shown(name: str, fields: dict[str, Any]) -> str:
    value = fields[name]
    if value is None:
        return "none"
    if name == "type":
        return _type(fields["version"], value)
    if name == "text":
        return printable(value)
    if name == "flags":
        return f"0x{value:02x}"
    if name == "timestamp":
        return f"{value} ({utc(value) or 'no date'})"
    if name == "trailing":
        return f"{value} bytes of padding behind the frame"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return str(value)
