"""How many questions one node may ask, so that nobody takes all of another's time."""

WINDOW_S = 10.0
PER_NODE = 200
"""In one window."""
UNPROVED = 400
"""In one window, of all that have not proved who and where they are, together; and of all nodes beyond MAX_NODES."""
MAX_NODES = 4096
"""That are counted one by one in a window."""


class QuestionLimit:
    """Counts questions in windows of time that follow one another."""

    def __init__(self) -> None:
        self._began = 0.0
        self._counts: dict[bytes, int] = {}
        self._others = 0

    def allow(self, asker: bytes | None, now: float) -> bool:
        """Whether a node's question may be answered. now: seconds of a clock; one that goes back begins a window."""
        if not 0 <= now - self._began < WINDOW_S:
            self._began, self._counts, self._others = now, {}, 0
        count = self._counts.get(asker, 0) if asker is not None else 0
        if asker is None or (not count and len(self._counts) >= MAX_NODES):
            self._others += 1
            return self._others <= UNPROVED
        self._counts[asker] = count + 1
        return count < PER_NODE
