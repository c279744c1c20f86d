"""Where a gateway keeps what must survive, and how the files in it are called."""

from pathlib import Path
from typing import Final

from ..identity.private_file import data_home

LEDGER: Final = "ledger.sqlite"
FRAMES: Final = "frames.sqlite"
MESHES: Final = "meshes.json"


def default_directory() -> Path:
    """Where a gateway keeps its state if its configuration does not say."""
    return data_home() / "gateway"
