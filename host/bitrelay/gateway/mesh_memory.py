"""Which meshes others offered, kept over a restart: so that what is for one of them waits while nobody is there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..errors import BitrelayError
from ..identity.private_file import read_private, write_private
from .message import Hello, MeshOffer, decode, encode

KIND: Final = "bitrelay_meshes"
MOST: Final = 32
"""Meshes in the file; what they say of themselves has at most MOST_BYTES each."""
MOST_BYTES: Final = 192


def save_meshes(path: Path, offers: Mapping[str, MeshOffer]) -> None:
    """Keep the last MOST of them. Raises what `write_private` raises."""
    kept = [line for offer in offers.values() if len(line := encode(Hello("", (offer,)))) <= MOST_BYTES]
    write_private(path, KIND, {"meshes": [line.hex() for line in kept[-MOST:]]}, replace=True)


def load_meshes(path: Path) -> dict[str, MeshOffer]:
    """Those that were kept; none if the file is missing or is not what it should be: they are heard of again."""
    try:
        lines = read_private(path, KIND)["meshes"]
        hellos = [decode(bytes.fromhex(line)) for line in lines[:MOST]]
    except (FileNotFoundError, BitrelayError, KeyError, TypeError, ValueError):
        return {}
    return {offer.name: offer for hello in hellos if isinstance(hello, Hello) for offer in hello.meshes}
