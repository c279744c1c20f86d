"""One path of a lookup: the nodes it has heard of, and whom it asks next."""

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto

from ..transports.address import Udp
from .messages import Contact
from .places import can_be_told

MAX_CANDIDATES = 256
"""That a path remembers; the farthest is forgotten first."""
MAX_ELSEWHERE = 3
"""Other places of one node that are remembered, in case it does not answer at the first."""


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

    elsewhere: the same node at other addresses, as others tell it; asked there if it does not answer here. been: the
    addresses where it was asked before.
    """

    distance: int
    contact: Contact
    depth: int
    state: State = State.HEARD_OF
    elsewhere: tuple[Contact, ...] = ()
    been: tuple[tuple[Udp, ...], ...] = ()

    def __lt__(self, other: "Candidate") -> bool:
        return self.distance < other.distance

    def told(self, contact: Contact) -> None:
        """It is said to be there, too: it is tried there, now if it is silent where it was asked."""
        places = (self.contact.addresses, *self.been, *(other.addresses for other in self.elsewhere))
        if contact.addresses not in places and len(self.elsewhere) < MAX_ELSEWHERE:
            self.elsewhere += (contact,)
        if self.state in _OUT:
            self.try_elsewhere()

    def try_elsewhere(self) -> None:
        """Ask it at the next place, if one was told."""
        if self.elsewhere:
            self.been += (self.contact.addresses,)
            self.contact, self.elsewhere, self.state = self.elsewhere[0], self.elsewhere[1:], State.HEARD_OF

    def join(self, other: "Candidate") -> None:
        """Take in what another path knows of the same node. If it answered on one, it answered."""
        if self.state is State.ANSWERED:
            return
        if other.state is State.ANSWERED:
            self.contact, self.depth, self.state = other.contact, other.depth, other.state
            return
        if other.state in _OUT and self.contact.addresses == other.contact.addresses:
            self.state = other.state
        elif other.state in _OUT:
            # Where it is silent it is not asked again; it may live where it was not asked.
            self.been += (other.contact.addresses,)
            self.elsewhere = tuple(place for place in self.elsewhere if place.addresses not in self.been)
        self.been += other.been
        for contact in (other.contact, *other.elsewhere):
            self.told(contact)


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
            if known is not None and (known.contact is contact or known.contact == contact):
                continue
            if teller is not None and not can_be_told(contact, teller, self.own_id):
                continue
            if known is not None:
                known.told(contact)
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

    def stall(self, candidate: Candidate, contact: Contact) -> None:
        """It is silent there for long: the lookup does not wait for it, and tries it elsewhere."""
        if candidate.state is State.ASKED and candidate.contact is contact:
            candidate.state = State.STALLED
            candidate.try_elsewhere()

    def done(self, candidate: Candidate, contact: Contact) -> None:
        """The question to it there is no longer under way, however it ended."""
        self.in_flight -= 1
        if candidate.state is State.ASKED and candidate.contact is contact:
            candidate.state = State.HEARD_OF

    def widen(self, by: int) -> None:
        """So many more of the nearest are to answer, whoever asked them before: the path goes on."""
        self.width += by
        self.ended = False

    def failed(self, candidate: Candidate, contact: Contact) -> None:
        """It did not answer there: it is tried elsewhere, if another place was told."""
        if candidate.contact is contact and candidate.state is not State.ANSWERED:
            candidate.state = State.FAILED
            candidate.try_elsewhere()

    def answered(self, count: int) -> list[Candidate]:
        """The nearest that have answered."""
        found = [candidate for candidate in self.candidates if candidate.state is State.ANSWERED]
        return found[:count]
