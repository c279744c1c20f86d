"""How many nodes there are, as far as one node can tell."""

from collections.abc import Sequence

from .node_id import ID_BITS, distance

ID_SPACE = float(1 << ID_BITS)


def estimate(own_id: bytes, nearest: Sequence[bytes]) -> float:
    """The number of nodes, estimated from how near the nearest to an id are; off by some 20 percent with 20 of them.

    Ids are hashes, so they lie evenly: if the m-th nearest is at a distance of one part in x, about m * x are around.
    """
    if len(nearest) < 2:
        return float(len(nearest))
    farthest = max(distance(own_id, node_id) for node_id in nearest)
    return (len(nearest) - 1) * ID_SPACE / max(1, farthest)
