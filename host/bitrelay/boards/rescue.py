"""The files of a board, kept on this computer while its flash is written: a cable that is pulled loses none of them.

One file per board, named after its MAC, readable by its owner alone since an identity is in it. It is there from before
the first byte is written until the board was seen to run with its files again.
"""

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path

from bitrelay.errors import BadData, PortError
from bitrelay.whole_file import write_whole

_FORMAT = 1
_MAX_FILE = 8 << 20


def rescue_path(mac: str) -> Path:
    """Where the files of the board with this MAC, 12 hex digits, are kept: below XDG_STATE_HOME or ~/.local/state."""
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "bitrelay" / "rescue" / f"{mac}.json"


def save_rescue(mac: str, files: Mapping[str, bytes]) -> Path:
    """Keep files, in place of any that were kept. Raises DiskFull, PortError."""
    path = rescue_path(mac)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PortError(f"cannot make {path.parent}: {error.strerror}") from None
    encoded = {name: base64.b64encode(data).decode() for name, data in sorted(files.items())}
    content = {"bitrelay_rescue": _FORMAT, "mac": mac, "files": encoded}
    write_whole(path, json.dumps(content, indent=1).encode(), private=True, replace=True)
    return path


def load_rescue(mac: str) -> dict[str, bytes] | None:
    """The files kept for a board, None if there are none. Raises BadData for a file that cannot be understood."""
    path = rescue_path(mac)
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PortError(f"cannot read {path}: {error.strerror}") from None
    try:
        content = json.loads(raw)
        if content["bitrelay_rescue"] != _FORMAT or content["mac"] != mac:
            raise ValueError
        return {str(name): base64.b64decode(text, validate=True) for name, text in content["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadData(
            f"{path} cannot be understood; it holds the files of the board with the MAC {mac}",
            hint="If you can do without them, remove it",
        ) from None


def drop_rescue(mac: str) -> None:
    """Forget the files of a board; harmless when there are none."""
    path = rescue_path(mac)
    path.unlink(missing_ok=True)
    try:
        path.parent.rmdir()
    except OSError:
        pass  # other boards have theirs in it, or it never was
