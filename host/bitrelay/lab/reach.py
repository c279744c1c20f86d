"""Who reaches whom over the links there are; pure functions of names and pairs."""

from collections import deque
from collections.abc import Iterable, Mapping


def neighbors(pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Each node's neighbors, of pairs that count in both directions."""
    found: dict[str, set[str]] = {}
    for a, b in pairs:
        found.setdefault(a, set()).add(b)
        found.setdefault(b, set()).add(a)
    return found


def hops(start: str, near: Mapping[str, set[str]], relays: Iterable[str]) -> dict[str, int]:
    """How many relays are on the shortest way from `start` to every node that can be reached over relays only."""
    forwards = {start, *relays}
    found = {start: 0}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        if node not in forwards:
            continue
        for peer in near.get(node, ()):
            if peer not in found:
                found[peer] = found[node] + (node != start)
                queue.append(peer)
    return found
