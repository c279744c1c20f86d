"""`bitrelay decode`: what the bytes of a frame say."""

import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from ..errors import BadData, ExitCode
from .options import JsonFlag
from .output import Output, reporting

# The longest payload that an app takes has 10 MiB; in hex, with the rest of the frame and room for spaces.
_MAX_LINE = 32 << 20


def decode(
    frame: Annotated[str, typer.Argument(metavar="HEX|-", help="The frame in hex, or -: one per line of input.")],
    json: JsonFlag = False,
) -> None:
    """Show the fields of a frame. A frame that is not valid ends with exit code 65."""
    with reporting(json) as out:
        valid = True
        for text in _input_lines() if frame == "-" else [frame]:
            valid &= _show(out, text)
        if not valid:
            raise typer.Exit(ExitCode.BAD_DATA)


def hex_bytes(text: str, name: str) -> bytes:
    """The bytes of hex digits; spaces and colons between them are ignored. Raises BadData, with the input's name."""
    try:
        return bytes.fromhex("".join(text.replace(":", " ").split()))
    except ValueError:
        raise BadData(f"{name} is not a string of hex digits") from None


def decoded(frame: bytes) -> dict[str, Any]:
    """The fields of a frame under the names of bitrelay.decode, or `error` with the reason alone."""
    from ..decode import decode as decode_frame

    try:
        return decode_frame(frame)
    except BadData as error:
        return {"error": error.what}


def frame_line(fields: dict[str, Any]) -> str:
    """A decoded frame on one line."""
    if "error" in fields:
        return f"not a frame: {fields['error']}"
    parts = [f"type 0x{fields['type']:02x}", f"TTL {fields['ttl']}", f"from {fields['sender']}"]
    if fields.get("recipient"):
        parts.append(f"to {fields['recipient']}")
    if fields.get("route"):
        parts.append(f"route of {len(fields['route'])}")
    parts.append(f"{fields['payload_len']} bytes")
    if fields.get("signature"):
        parts.append("signed")
    return ", ".join(parts)


def _input_lines() -> Iterator[str]:
    if sys.stdin is None:
        raise BadData("there is no input to read from")
    empty = True
    while line := _read_line():
        if line.strip():
            empty = False
            yield line
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


def _show(out: Output, text: str) -> bool:
    try:
        fields = decoded(hex_bytes(text, "the frame"))
    except BadData as error:
        fields = {"error": error.what}
    if out.as_json:
        out.record(fields)
    elif "error" in fields:
        out.line(f"not a frame: {fields['error']}")
    else:
        out.table(("", ""), [(name, _shown(name, value)) for name, value in fields.items()])
    return "error" not in fields


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "none"
    if name in ("type", "flags") and isinstance(value, int):
        return f"0x{value:02x}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return str(value)
