"""Many ids in order, so that the nearest to a target are found without looking at all of them."""

from bisect import bisect_left, insort

from ..dht.node_id import ID_BITS


class IdIndex:
    """A set of ids of 32 bytes, as big-endian numbers in ascending order."""

    def __init__(self) -> None:
        self._ids: list[int] = []

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, node_id: bytes) -> None:
        insort(self._ids, int.from_bytes(node_id, "big"))

    def remove(self, node_id: bytes) -> None:
        """Raises ValueError for one that is not there."""
        number = int.from_bytes(node_id, "big")
        place = bisect_left(self._ids, number)
        if place == len(self._ids) or self._ids[place] != number:
            raise ValueError("the id is not in the index")
        del self._ids[place]

    def nearest(self, target: bytes, count: int) -> list[bytes]:
        """The nearest by XOR, nearest first."""
        wanted = int.from_bytes(target, "big")
        # Those that share a prefix with the target are in one piece, and nearer than all that do not.
        bits = max(0, (len(self._ids) // max(1, count)).bit_length())
        first, last = self._sharing(wanted, bits)
        while last - first < count and bits:
            bits -= 1
            first, last = self._sharing(wanted, bits)
        found = sorted(self._ids[first:last], key=lambda number: number ^ wanted)
        return [number.to_bytes(ID_BITS // 8, "big") for number in found[:count]]

    def _sharing(self, wanted: int, bits: int) -> tuple[int, int]:
        rest = ID_BITS - bits
        begin = wanted >> rest << rest
        return bisect_left(self._ids, begin), bisect_left(self._ids, begin + (1 << rest))
