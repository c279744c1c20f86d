"""In which mesh an author was last, learned from who is heard where.

Who sends a frame is said by nobody but the frame, and most frames prove nothing. So:

- An announce whose signature holds tells for sure for `hold_s`: meanwhile other frames that name its author elsewhere
  do not count. An older announce, played back elsewhere, never does.
- When an author who is not held so is named in another mesh, he may have moved, or somebody took his name: for a minute
  nobody knows where he is, and what is for him goes to all who want it. The same while two signing keys claim one id.

So whoever takes somebody's name wins at most that frames for him go to more meshes than they need to; only of an author
who is not heard himself at all can he draw the frames to where he is.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

MOST_AUTHORS: Final = 8192
"""Beyond that, who was heard least recently goes."""
LIFETIME_S: Final = 600.0
CONTESTED_S: Final = 60.0


@dataclass(slots=True, eq=False)
class _Place:
    # proved_ms: the author's time in the newest announce that told, and signer its signing key.
    mesh: str
    seen: float
    contested_until: float = float("-inf")
    held_until: float = float("-inf")
    proved_ms: int = -1
    signer: bytes = b""


class Whereabouts:
    """Authors, by on-air id (8 bytes), and their meshes. now: seconds of a clock that does not go back."""

    def __init__(self, most: int = MOST_AUTHORS) -> None:
        self._most = most
        self._places: OrderedDict[bytes, _Place] = OrderedDict()

    def __len__(self) -> int:
        return len(self._places)

    def where(self, author: bytes, now: float) -> str | None:
        """The name of his mesh, or None if it is not known, or doubtful."""
        place = self._places.get(author)
        if place is None or now < place.contested_until or now - place.seen > LIFETIME_S:
            return None
        return place.mesh

    def learn(self, author: bytes, mesh: str, now: float) -> None:
        """A frame that names him as its author came from there."""
        place = self._known(author, mesh, now)
        if place.mesh == mesh:
            place.seen = now
        elif now >= place.held_until:
            place.mesh = mesh
            place.seen = now
            place.contested_until = now + CONTESTED_S

    def learn_proved(
        self, author: bytes, mesh: str, signer: bytes, timestamp_ms: int, now: float, hold_s: float
    ) -> None:
        """An announce of his came from there, and its signature by `signer` holds. timestamp_ms: what it says."""
        place = self._known(author, mesh, now)
        if now < place.held_until and place.signer != signer:
            if place.mesh != mesh:
                place.contested_until = now + CONTESTED_S
            return
        if timestamp_ms <= place.proved_ms:
            return
        place.mesh = mesh
        place.seen = now
        place.contested_until = float("-inf")
        place.held_until = now + hold_s
        place.proved_ms = timestamp_ms
        place.signer = signer

    def doubt(self, author: bytes, mesh: str, now: float) -> None:
        """The same announce came from there, too: one of those who brought it says what is not so, or he is in both."""
        place = self._places.get(author)
        if place is not None and place.mesh != mesh:
            place.contested_until = now + CONTESTED_S

    def unlearn(self, author: bytes, mesh: str) -> None:
        """What he was heard with there had been brought there from elsewhere."""
        place = self._places.get(author)
        if place is not None and place.mesh == mesh:
            del self._places[author]

    def forget(self, now: float) -> None:
        """Let go of those not heard of for too long."""
        while self._places:
            author, place = next(iter(self._places.items()))
            if now - place.seen <= LIFETIME_S:
                return
            del self._places[author]

    def _known(self, author: bytes, mesh: str, now: float) -> _Place:
        # Made new if there is none, or if it is too old to tell.
        places = self._places
        place = places.get(author)
        if place is not None and now - place.seen <= LIFETIME_S:
            places.move_to_end(author)
            return place
        place = places[author] = _Place(mesh, now)
        places.move_to_end(author)
        if len(places) > self._most:
            places.popitem(last=False)
        return place
