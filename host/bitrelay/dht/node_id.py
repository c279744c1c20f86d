"""Ids of nodes and keys, and how far they are from one another (rows DHT-01 to DHT-04, DSC-31).

An id is 32 bytes: a node's is its PeerId. Distance is XOR, compared as a big-endian number.
"""

from typing import Final

ID_SIZE: Final = 32
ID_BITS: Final = 256


def distance(a: bytes, b: bytes) -> int:
    """How far two ids are from one another."""
    return int.from_bytes(a, "big") ^ int.from_bytes(b, "big")


def bucket_index(own: bytes, other: bytes) -> int:
    """How many leading bits two ids share: 0 is farthest, 255 nearest, 256 the id itself, which no bucket holds."""
    return ID_BITS - distance(own, other).bit_length()


def hop_distance(a: bytes, b: bytes) -> int:
    """How many bits two ids differ in: a figure to show (resolution E10). Nothing is chosen by it."""
    return distance(a, b).bit_count()
