"""Whether an answer is one to the question that was asked; what is in it and does not belong there is left out."""

from ..errors import PeerError
from .messages import (
    MAX_CONTACTS,
    Answer,
    FindNode,
    FindValue,
    Nodes,
    Ping,
    Pong,
    Question,
    Refused,
    SignedValue,
    Store,
    Stored,
    Values,
)
from .store import MAX_OWNERS
from .values import PASSING, fault_of, key_of

_ANSWERS: dict[type[Question], type[Answer]] = {Ping: Pong, FindNode: Nodes, FindValue: Values, Store: Stored}


def checked(question: Question, answer: Answer, now: float) -> Answer:
    """The answer, if it is one; its values count and are under the key. Refused answers every question.

    Values whose time has not come or is over are left out. Raises PeerError for an answer that no honest node gives.
    """
    if isinstance(answer, Refused):
        return answer
    if not isinstance(answer, _ANSWERS[type(question)]):
        raise PeerError("a node answered another question than it was asked")
    if isinstance(answer, Nodes | Values) and len(answer.contacts) > MAX_CONTACTS:
        raise PeerError("a node told of more nodes than it may")
    if isinstance(answer, Values) and isinstance(question, FindValue):
        if len(answer.values) > MAX_OWNERS:
            raise PeerError("a node gave more values than a key has")
        return Values(_valid(question, answer.values, now), answer.more, answer.contacts)
    return answer


def _valid(question: FindValue, values: tuple[SignedValue, ...], now: float) -> tuple[SignedValue, ...]:
    valid: list[SignedValue] = []
    before = question.after
    for value in values:
        fault = fault_of(value, now)
        if fault is not None and fault not in PASSING:
            raise PeerError(f"a node passed on a value that is none: {fault}")
        if value.owner <= before or (fault is None and key_of(value.kind, value.name) != question.key):
            raise PeerError("a node passed on a value that was not asked for")
        before = value.owner
        if fault is None:
            valid.append(value)
    return tuple(valid)
