"""Announces at the edge of a mesh: proved, seldom, and ahead of what their authors say.

Phones announce every few seconds, and every announce is forwarded by everybody. Over the internet one per author and
minute is enough for others to know him. What is over that rate is told by a look at a table, before the signature,
which takes twenty times as long. A signing key has a rate of its own, so that nobody uses up somebody else's with
his id and another key; one without a valid signature uses up nothing.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from .announce_proof import is_signed, signer_of
from .bridge_frame import BridgeFrame
from .crossing import Drop
from .eligibility import WINDOW_MS, is_fresh

MOST_AUTHORS: Final = 8192
"""Whose last announce's time is remembered; of more, the one that is longest ago goes."""
MOST_KEPT: Final = 2048
"""Announces that are kept, by author; of more, the one that came first goes."""
_MOST_TARGETS: Final = 256
_NEVER: Final = float("-inf")


class AnnounceFilter:
    """Which announces go one way into or out of one mesh. now: seconds."""

    def __init__(self, most: int = MOST_AUTHORS) -> None:
        self._most = most
        self._passed: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._passed)

    def judge(self, frame: BridgeFrame, every_s: float, now: float, proved: bool = False) -> bytes | Drop:
        """The signing key of an announce that may cross, or why it may not. proved: its signature was checked."""
        signer = signer_of(frame)
        if signer is None:
            return Drop.ANNOUNCE_FORGED
        author = frame.sender + signer
        if now - self._passed.get(author, _NEVER) < every_s:
            return Drop.ANNOUNCE_RATE
        if not (proved or is_signed(frame, signer)):
            return Drop.ANNOUNCE_FORGED
        self._passed[author] = now
        self._passed.move_to_end(author)
        if len(self._passed) > self._most:
            self._passed.popitem(last=False)
        return signer

    def take_back(self, frame: BridgeFrame, signer: bytes) -> None:
        """It does not cross after all: the next one may."""
        self._passed.pop(frame.sender + signer, None)

    def forget(self, every_s: float, now: float) -> None:
        """Let go of those who may announce again."""
        while self._passed:
            author, passed = next(iter(self._passed.items()))
            if now - passed < every_s:
                return
            del self._passed[author]


@dataclass(slots=True, eq=False)
class _Kept:
    # crossed: when an announce of this author last went to each mesh. covered: targets that all have one until then.
    frame: BridgeFrame
    signer: bytes
    since: float
    crossed: dict[str, float] = field(default_factory=dict)
    covered: Sequence[str] = ()
    covered_until: float = _NEVER

    def cross(self, targets: Sequence[str], now: float) -> None:
        if len(self.crossed) > _MOST_TARGETS:
            self.crossed.clear()  # meshes come and go; an announce too many is no harm
        self.crossed.update(dict.fromkeys(targets, now))


class NewestAnnounces:
    """The newest proved announce of each author of one mesh, and where announces of his have gone.

    While one is fresh, another key's does not take its place: whoever signs for somebody else's id comes too late.
    """

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, frame: BridgeFrame, signer: bytes, now: float, wall_ms: int) -> None:
        """A proved announce came."""
        kept = self._kept.get(frame.sender)
        if kept is None:
            self._kept[frame.sender] = _Kept(frame, signer, now)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        elif kept.signer == signer and frame.timestamp_ms > kept.frame.timestamp_ms:
            kept.frame = frame
            kept.since = now
            self._kept.move_to_end(frame.sender)
        elif kept.signer != signer and not is_fresh(kept.frame, wall_ms):
            self._kept[frame.sender] = _Kept(frame, signer, now)
            self._kept.move_to_end(frame.sender)

    def crossed(self, frame: BridgeFrame, targets: Sequence[str], now: float) -> None:
        """This announce goes there."""
        kept = self._kept.get(frame.sender)
        if kept is not None and kept.frame is frame:
            kept.cross(targets, now)

    def due(
        self, author: bytes, targets: Sequence[str], every_s: float, now: float, wall_ms: int
    ) -> tuple[BridgeFrame, ...]:
        """His announce, if some of the targets had none in every_s and it is still fresh; it counts as gone there."""
        kept = self._kept.get(author)
        if kept is None or (kept.covered is targets and now < kept.covered_until):
            return ()
        last = min(kept.crossed.get(target, _NEVER) for target in targets)
        if now - last < every_s:
            kept.covered = targets
            kept.covered_until = last + every_s
            return ()
        if not is_fresh(kept.frame, wall_ms):
            return ()
        kept.cross(targets, now)
        return (kept.frame,)

    def forget(self, now: float) -> None:
        """Let go of those that phones no longer accept, whatever their time was when they came."""
        while self._kept:
            author, kept = next(iter(self._kept.items()))
            if now - kept.since <= 2 * WINDOW_MS / 1000:
                return
            del self._kept[author]
