"""Finding the nodes nearest to an id, or the values under a key (rows DHT-15 to DHT-17).

A lookup asks the nearest nodes it knows for nearer ones, several at a time, until the nearest have all answered. It
may do so on up to MAX_PATHS disjoint paths (S/Kademlia): the first nodes known are dealt out to them, and no node is
asked on two. A node that lies misleads its own path only. In the end the paths are joined, and the nearest of all that
they found are asked: so one path that came through is enough, and many paths need few more questions than one.

Ids lie evenly, so a node can tell about how near to an id the k-th nearest must be. If those that were found are much
farther apart, the true ones were hidden, and nodes that were passed over are asked: colluders can answer with one
another, but they are not as many as all.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil

from ..errors import BitrelayError, PeerError
from .bucket import K
from .lookup_path import Candidate, Path, State
from .messages import Answer, Contact, FindNode, FindValue, Nodes, Question, SignedValue, Values
from .store import MAX_OWNERS
from .values import latest

ALPHA = 3
"""Questions at a time (row DHT-06)."""
STALL_S = 2.0
"""A question that is unanswered for longer no longer counts as one of these, and a lookup does not wait for it to end.
Most who answer at all do so by then, even if a datagram gets lost."""
MAX_ASKERS = 12
"""Questions under way on one path, stalled ones among them."""
MAX_PATHS = 8
SPARSE = 2.0
"""How many times farther than expected the k-th nearest may be. By chance it is more in one lookup of twelve, that
then asks 20 nodes in vain; if a fifth of all nodes collude, those they name are about five times as far."""
MAX_WIDTH = 4 * K
"""Nodes that must have answered before a lookup is content with what looks too sparse."""
MAX_DEPTH = 20
"""Questions one after the other (row DHT-19)."""
MAX_QUESTIONS = 256
"""Of all paths together, and once more when they are joined."""
MAX_TIME_S = 60.0
"""After which nobody more is asked."""
_MAX_PAGES = MAX_OWNERS
# Whose values are asked for in pieces: of one node, at most one piece an owner.
_MAX_PAGES_S = 10.0
# And for so long, if none takes STALL_S: else one holder could keep a lookup for minutes.

Asking = Callable[[Contact, Question], Awaitable[Answer]]
"""Asks a node; the answer is one to the question, or BitrelayError is raised. It ends within a time of its own."""


@dataclass(frozen=True, slots=True)
class Step:
    """One question of a lookup. path: its number; depth: see `Candidate`; told: nodes it told of; values: it had."""

    contact: Contact
    path: int
    depth: int
    outcome: str
    told: int = 0
    values: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """What a lookup came to.

    closest: the nearest nodes that have answered, nearest first; values: of each owner the latest; hops: how many
    questions one after the other led to the nearest node, or to the first values; messages: questions asked; failures:
    of these without answer. steps: all of them, if they were to be told.
    """

    target: bytes
    closest: tuple[Contact, ...]
    values: tuple[SignedValue, ...]
    hops: int
    messages: int
    failures: int
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """How to look up. width: how many of the nearest nodes must have answered in the end; trace: tell all steps."""

    paths: int = 1
    width: int = K
    alpha: int = ALPHA
    trace: bool = False

    def __post_init__(self) -> None:
        if not (1 <= self.paths <= MAX_PATHS and 1 <= self.width <= K and self.alpha >= 1):
            raise ValueError("a lookup takes 1 to 8 paths, and is 1 to 20 nodes wide")


async def find_node(
    target: bytes,
    own_id: bytes,
    known: Sequence[Contact],
    ask: Asking,
    plan: Plan | None = None,
    expected: float | None = None,
) -> Found:
    """The nearest nodes to an id.

    known: where to begin, nearest first; expected: how far the k-th nearest is probably, if that can be told.
    """
    return await _Lookup(target, own_id, ask, plan or Plan(), None, expected).run(known)


async def find_value(
    key: bytes,
    own_id: bytes,
    known: Sequence[Contact],
    ask: Asking,
    plan: Plan | None = None,
    enough: Callable[[Sequence[SignedValue]], bool] = bool,
    expected: float | None = None,
) -> Found:
    """The values under a key. enough: whether what one node had is what was looked for; then its path ends."""
    return await _Lookup(key, own_id, ask, plan or Plan(), enough, expected).run(known)


class _Askers:
    """The tasks that ask along one path."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self.tasks: list[asyncio.Task[None]] = []

    def add(self, asking: Coroutine[None, None, None]) -> None:
        self.tasks.append(self._group.create_task(asking))


@dataclass
class _Lookup:
    target: bytes
    own_id: bytes
    ask: Asking
    plan: Plan
    enough: Callable[[Sequence[SignedValue]], bool] | None
    expected: float | None
    taken: dict[bytes, int] = field(default_factory=dict)
    values: list[SignedValue] = field(default_factory=list)
    value_depth: int | None = None
    messages: int = 0
    failures: int = 0
    steps: list[Step] = field(default_factory=list)
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    deadline: float = 0.0

    async def run(self, known: Sequence[Contact]) -> Found:
        self.deadline = asyncio.get_running_loop().time() + MAX_TIME_S
        count = max(1, min(self.plan.paths, len(known)))
        questions = MAX_QUESTIONS // count
        paths = [self._path(number, ceil(self.plan.width / count), questions) for number in range(count)]
        for place, contact in enumerate(known):
            if contact.node_id != self.own_id:
                paths[place % count].hear((contact,), 1)
        whole = paths[0]
        await self._walk(paths, ceil(self.plan.alpha / count))
        if count > 1:
            whole = self._joined(paths)
            if self.value_depth is None:
                await self._walk([whole], self.plan.alpha)
        while self.value_depth is None and self._is_sparse(whole):
            whole.widen(K)
            await self._walk([whole], self.plan.alpha)
        closest = whole.answered(self.plan.width)
        hops = self.value_depth if self.value_depth is not None else closest[0].depth if closest else 0
        return Found(
            self.target,
            tuple(candidate.contact for candidate in closest),
            latest(self.values),
            hops,
            self.messages,
            self.failures,
            tuple(self.steps),
        )

    def _path(self, number: int, width: int, questions: int) -> Path:
        return Path(number, self.own_id, int.from_bytes(self.target, "big"), width, self.taken, MAX_DEPTH, questions)

    def _joined(self, paths: Iterable[Path]) -> Path:
        whole = self._path(-1, self.plan.width, MAX_QUESTIONS)
        whole.taken = {}
        # Those first that we know ourselves, so that no number of false addresses displaces theirs.
        for candidate in sorted((one for path in paths for one in path.candidates), key=lambda one: one.depth):
            known = whole.by_id.get(candidate.contact.node_id)
            if known is None:
                whole.add(candidate)
            else:
                known.join(candidate)
        return whole

    def _is_sparse(self, path: Path) -> bool:
        # Whether others than the nearest should be asked as well.
        nearest = path.answered(K)
        if self.expected is None or self.plan.width < K or len(nearest) < K or path.width >= MAX_WIDTH:
            return False
        return nearest[-1].distance > SPARSE * self.expected

    async def _walk(self, paths: Sequence[Path], alpha: int) -> None:
        # As many askers on each path as there may be questions under way on it.
        async with asyncio.TaskGroup() as group:
            for path in paths:
                askers = _Askers(group)
                for _ in range(alpha):
                    askers.add(self._ask_along(path, askers))

    async def _ask_along(self, path: Path, askers: "_Askers") -> None:
        loop = asyncio.get_running_loop()
        stalled = False

        def stall(candidate: Candidate, contact: Contact) -> None:
            nonlocal stalled
            path.stall(candidate, contact)
            self._wake()
            if not path.ended and path.in_flight < MAX_ASKERS:
                stalled = True
                askers.add(self._ask_along(path, askers))

        while not path.ended:
            candidate = path.next() if loop.time() < self.deadline else None
            if candidate is not None:
                contact = candidate.contact
                path.ask(candidate)
                timer = loop.call_later(STALL_S, stall, candidate, contact)
                try:
                    await self._question(path, candidate, contact)
                except asyncio.CancelledError:
                    path.ended = True  # no asker that was added a moment ago may go on alone
                    raise
                finally:
                    timer.cancel()
                    path.done(candidate, contact)
                    self._wake()
                if stalled:
                    return  # another one asks in this one's place
            elif path.ended or not path.in_flight:
                path.ended = True
            else:
                await self._something_happens()
        # Whoever is still waited for could not change what was found.
        for asker in askers.tasks:
            if asker is not asyncio.current_task():
                asker.cancel()

    async def _question(self, path: Path, candidate: Candidate, contact: Contact) -> None:
        self.messages += 1
        try:
            if self.enough is None:
                answer = await self.ask(contact, FindNode(self.target))
                values: list[SignedValue] = []
            else:
                answer, values = await self._values_of(contact)
        except asyncio.CancelledError:
            self.failures += candidate.state is State.STALLED or candidate.contact is not contact
            self._step(candidate, contact, path, "it was not waited for")
            raise
        except BitrelayError as error:
            self.failures += 1
            path.failed(candidate, contact)
            self._step(candidate, contact, path, error.what)
            return
        if not isinstance(answer, Nodes | Values):  # it is Refused
            self.failures += 1
            path.failed(candidate, contact)
            self._step(candidate, contact, path, "it refused")
            return
        candidate.contact, candidate.state = contact, State.ANSWERED
        path.hear(answer.contacts, candidate.depth + 1, contact)
        self.values += values
        if self.enough is not None and values and self.enough(values):
            if self.value_depth is None:
                self.value_depth = candidate.depth
            path.ended = True
        self._step(candidate, contact, path, "it answered", len(answer.contacts), len(values))

    async def _values_of(self, contact: Contact) -> tuple[Answer, list[SignedValue]]:
        # All values that a node has: it gives as many at a time as a datagram holds.
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        end = min(self.deadline, asked_at + _MAX_PAGES_S)
        first = answer = await self.ask(contact, FindValue(self.target))
        values: list[SignedValue] = []
        for _ in range(_MAX_PAGES):
            if not isinstance(answer, Values):
                break
            values += answer.values
            now = loop.time()
            if not answer.more or not answer.values or now >= min(end, asked_at + STALL_S):
                break
            asked_at = now
            self.messages += 1
            try:
                answer = await self.ask(contact, FindValue(self.target, answer.values[-1].owner))
            except PeerError:
                raise
            except BitrelayError:
                break  # what it gave counts
        return first, values

    def _step(
        self, candidate: Candidate, contact: Contact, path: Path, outcome: str, told: int = 0, values: int = 0
    ) -> None:
        if self.plan.trace:
            self.steps.append(Step(contact, path.number, candidate.depth, outcome, told, values))

    async def _something_happens(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        await future

    def _wake(self) -> None:
        waiting, self.waiting = self.waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
