"""One path of a lookup: the nodes it has heard of, and whom it asks next."""

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto

from .messages import Contact
from .places import can_be_told

MAX_CANDIDATES = 256
"""That a path remembers; the farthest is forgotten first."""


class State(Enum):
    HEARD_OF = auto()
    ASKED = auto()
    STALLED = auto()
    """Asked, and silent for so long that others are asked in its stead. It may still answer."""
    ANSWERED = auto()
    FAILED = auto()


_OUT = (State.STALLED, State.FAILED)


@dataclass(slots=True)
class Candidate:
    """A node that a lookup heard of. depth: how many questions one after the other it takes to have its answer.

    other: the same node at other addresses, as another one tells it; asked there if it does not answer here.
    """

    distance: int
    contact: Contact
    depth: int
    state: State = State.HEARD_OF
    other: Contact | None = None

    def __lt__(self, other: "Candidate") -> bool:
        return self.distance < other.distance


@dataclass(slots=True)
class Path:
    """The nodes that one path of a lookup knows, nearest to the target first.

    width: how many of the nearest must have answered; taken: what all paths of the lookup have asked, and which did;
    max_depth, questions: beyond which nobody is asked.
    """

    number: int
    own_id: bytes
    target: int
    width: int
    taken: dict[bytes, int]
    max_depth: int
    questions: int
    candidates: list[Candidate] = field(default_factory=list)
    by_id: dict[bytes, Candidate] = field(default_factory=dict)
    in_flight: int = 0
    ended: bool = False

    def hear(self, contacts: Iterable[Contact], depth: int, teller: Contact | None = None) -> None:
        """Take in nodes that somebody told of, as far as they can be believed; they themselves would be at this depth.

        teller: None for what we know ourselves.
        """
        for contact in contacts:
            known = self.by_id.get(contact.node_id)
            if known is not None and (known.contact is contact or known.other or known.contact == contact):
                continue
            if teller is not None and not can_be_told(contact, teller, self.own_id):
                continue
            if known is not None:
                known.other = contact
                if known.state is State.FAILED:
                    self._try_elsewhere(known)
                continue
            candidate = Candidate(int.from_bytes(contact.node_id, "big") ^ self.target, contact, depth)
            self.add(candidate)

    def add(self, candidate: Candidate) -> None:
        """Take in a candidate, perhaps one of another path."""
        if len(self.candidates) >= MAX_CANDIDATES:
            if self.candidates[-1].distance < candidate.distance:
                return
            del self.by_id[self.candidates.pop().contact.node_id]
        self.by_id[candidate.contact.node_id] = candidate
        insort(self.candidates, candidate)

    def next(self) -> Candidate | None:
        """The nearest node to ask, of those nearest that are to answer; None if there is nobody, as things are.

        The path ends when all of them have answered.
        """
        left, answered = self.width, True
        for candidate in self.candidates:
            if candidate.state in _OUT or candidate.depth > self.max_depth:
                continue
            if candidate.state is State.HEARD_OF:
                if self.taken.get(candidate.contact.node_id, self.number) == self.number:
                    return candidate if self.questions else None
                continue  # another path's
            answered = answered and candidate.state is State.ANSWERED
            left -= 1
            if not left:
                self.ended = answered
                return None
        return None

    def ask(self, candidate: Candidate) -> None:
        """It is asked now, and by no other path."""
        candidate.state = State.ASKED
        self.taken[candidate.contact.node_id] = self.number
        self.in_flight += 1
        self.questions -= 1

    def stall(self, candidate: Candidate) -> None:
        """It is silent for long: the lookup does not wait for it."""
        if candidate.state is State.ASKED:
            candidate.state = State.STALLED

    def done(self, candidate: Candidate) -> None:
        """Its question is no longer under way, however it ended."""
        self.in_flight -= 1
        if candidate.state is State.ASKED:
            candidate.state = State.HEARD_OF

    def widen(self, by: int) -> None:
        """So many more of the nearest are to answer, whoever asked them before: the path goes on."""
        self.width += by
        self.ended = False

    def failed(self, candidate: Candidate) -> None:
        """It did not answer: it is tried elsewhere, if another place was told."""
        candidate.state = State.FAILED
        self._try_elsewhere(candidate)

    def answered(self, count: int) -> list[Candidate]:
        """The nearest that have answered."""
        found = [candidate for candidate in self.candidates if candidate.state is State.ANSWERED]
        return found[:count]

    def _try_elsewhere(self, candidate: Candidate) -> None:
        if candidate.other is not None and candidate.other.addresses != candidate.contact.addresses:
            candidate.contact, candidate.state = candidate.other, State.HEARD_OF
