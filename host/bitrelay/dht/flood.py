"""What strangers and known nodes may ask for, in questions a second: token buckets, on a clock that is given.

Known are those whose address and work are proved. They have a bucket each, under their id, which cost work; strangers
share one for each group of addresses, and one for all: a flood from wherever empties theirs alone.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from ..transports.token_bucket import TokenBucket


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a second, and so many at once after a pause."""

    per_s: float
    burst: float


@dataclass(frozen=True, slots=True)
class FloodLimits:
    """known, all_known: questions of one node with work, and of all such; source, strangers: of all others,
    from one group of addresses and from anywhere.

    work_source, work: proofs of work that are checked for strangers, likewise; each costs as much as some questions.
    buckets: how many are remembered of each kind; the one used least recently is forgotten first, and full again: what
    all together may do stays as it was.
    """

    known: Rate = Rate(100, 300)
    all_known: Rate = Rate(2000, 4000)
    source: Rate = Rate(20, 100)
    strangers: Rate = Rate(200, 400)
    work_source: Rate = Rate(10, 100)
    work: Rate = Rate(100, 400)
    buckets: int = 4096

    @classmethod
    def one_host(cls) -> "FloodLimits":
        """For many nodes on one computer, where all come from one address."""
        return cls(
            source=Rate(5_000, 5_000),
            strangers=Rate(5_000, 5_000),
            work_source=Rate(5_000, 5_000),
            work=Rate(5_000, 5_000),
        )


class Buckets:
    """One bucket for each name, and, if given, one that all of them drink from."""

    def __init__(self, each: Rate, together: Rate | None = None, most: int = 4096) -> None:
        self._each = each
        self._together = None if together is None else TokenBucket(together.burst, together.per_s)
        self._most = most
        self._by_name: OrderedDict[Hashable, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_name)

    def take(self, name: Hashable, now: float) -> bool:
        """Take one token under this name; whether there was one. Who is over its own takes nothing from the others."""
        bucket = self._by_name.get(name)
        if bucket is None:
            bucket = self._by_name[name] = TokenBucket(self._each.burst, self._each.per_s)
            if len(self._by_name) > self._most:
                self._by_name.popitem(last=False)
        self._by_name.move_to_end(name)
        if not bucket.has_token(now) or not (self._together is None or self._together.consume(now)):
            return False
        bucket.take()
        return True
