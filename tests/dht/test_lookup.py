"""How a lookup goes: whom it asks, how many at a time, when it ends, and what liars can do to it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from bitrelay.dht import lookup
from bitrelay.dht.lookup import MAX_DEPTH, MAX_QUESTIONS, Found, Plan
from bitrelay.dht.messages import (
    Answer,
    Contact,
    FindValue,
    Nodes,
    Pong,
    Question,
    Refusal,
    Refused,
    SignedValue,
    Values,
)
from bitrelay.dht.node_id import distance
from bitrelay.dht.values import Kind, key_of, sign
from bitrelay.errors import DeviceTimeout
from bitrelay.transports.address import Udp

from .small_network import EPOCH, contact, in_virtual_time, keys, near, node_id

OWN = node_id(77_777)
TARGET = key_of(Kind.GATEWAY, "mesh")
Told = Callable[[Contact, Question], Answer | None]


class Asked:
    """Answers by a rule, each after a tenth of a second, and none (None) after five seconds."""

    def __init__(self, rule: Told) -> None:
        self.rule = rule
        self.contacts: list[Contact] = []
        self.under_way = 0
        self.most_under_way = 0
        self.began: list[float] = []

    async def __call__(self, who: Contact, question: Question) -> Answer:
        self.contacts.append(who)
        self.began.append(asyncio.get_running_loop().time())
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            answer = self.rule(who, question)
            await asyncio.sleep(5.0 if answer is None else 0.1)
            if answer is None:
                raise DeviceTimeout("no answer")
            return answer
        finally:
            self.under_way -= 1


def at(bits: int, number: int = 0) -> Contact:
    """A node that shares so many leading bits with the target."""
    return Contact(near(TARGET, bits, number), contact(bits * 100 + number).addresses)


def find(rule: Told, known: Sequence[Contact], plan: Plan | None = None) -> tuple[Found, Asked]:
    asked = Asked(rule)
    return in_virtual_time(lambda: lookup.find_node(TARGET, OWN, known, asked, plan)), asked


def find_value(rule: Told, known: Sequence[Contact], plan: Plan | None = None) -> tuple[Found, Asked]:
    asked = Asked(rule)
    return in_virtual_time(lambda: lookup.find_value(TARGET, OWN, known, asked, plan)), asked


def in_steps(who: Contact, question: Question) -> Answer:
    """Each node knows the three that are a bit nearer, up to ten bits."""
    bits = 256 - distance(who.node_id, TARGET).bit_length()
    return Nodes(tuple(at(bits + 1, number) for number in range(3)) if bits < 10 else ())


@pytest.mark.requirement("DHT-15")
def test_a_lookup_goes_on_until_the_nearest_have_all_answered() -> None:
    found, asked = find(in_steps, [at(0)])
    everybody = [at(0)] + [at(bits, number) for bits in range(1, 11) for number in range(3)]
    nearest = sorted(everybody, key=lambda who: distance(who.node_id, TARGET))[:20]
    assert list(found.closest) == nearest
    assert found.hops == 11
    assert found.messages == len(asked.contacts) == len(set(asked.contacts))


@pytest.mark.requirement("DHT-06", "DHT-16")
def test_three_questions_are_under_way_and_the_next_does_not_wait_for_the_slowest() -> None:
    slow = at(0, 0)

    def rule(who: Contact, question: Question) -> Answer | None:
        return None if who == slow else Nodes(())

    found, asked = find(rule, [slow, *(at(0, number) for number in range(1, 20))])
    assert asked.most_under_way == 3
    assert asked.began[-1] < 1.1, "nineteen questions by the two others, while the slow one is waited for"
    assert found.failures == 1
    assert len(found.closest) == 19


def test_whoever_is_slow_and_far_is_not_waited_for() -> None:
    slow = at(0, 5)

    def rule(who: Contact, question: Question) -> Answer | None:
        return None if who == slow else Nodes(tuple(at(4, number) for number in range(20)))

    async def timed() -> tuple[Found, float]:
        found = await lookup.find_node(TARGET, OWN, [at(0, 0), slow], Asked(rule), Plan())
        return found, asyncio.get_running_loop().time()

    found, took = in_virtual_time(timed)
    assert len(found.closest) == 20
    assert took < 5


@pytest.mark.requirement("DHT-17")
def test_a_value_ends_the_lookup_of_one_path_and_the_latest_of_each_owner_counts() -> None:
    values = tuple(sorted((sign_of(1), sign_of(2)), key=lambda v: v.owner))

    def rule(who: Contact, question: Question) -> Answer:
        told = in_steps(who, question)
        assert isinstance(told, Nodes)
        return Values(values if who == at(4) else (), False, told.contacts)

    found, asked = find_value(rule, [at(0)])
    assert found.values == values
    assert found.hops == 5
    assert at(9) not in asked.contacts


def test_values_that_fill_more_than_one_answer_are_asked_for_in_pieces() -> None:
    values = sorted((sign_of(number) for number in range(7)), key=lambda v: v.owner)

    def rule(who: Contact, question: Question) -> Answer:
        assert isinstance(question, FindValue)
        left = [value for value in values if value.owner > question.after]
        return Values(tuple(left[:3]), len(left) > 3, ())

    found, _ = find_value(rule, [at(0)])
    assert list(found.values) == values
    assert found.messages == 3


@pytest.mark.parametrize(("page_s", "most_s"), [(4.9, 4.9), (1.9, 12.0), (0.1, 6.4)])
def test_a_holder_that_is_slow_keeps_the_lookup_for_seconds_only(page_s: float, most_s: float) -> None:
    values = sorted((sign_of(number) for number in range(64)), key=lambda v: v.owner)

    async def ask(who: Contact, question: Question) -> Answer:
        assert isinstance(question, FindValue)
        await asyncio.sleep(page_s)
        left = [value for value in values if value.owner > question.after]
        return Values((left[0],), len(left) > 1, ())

    async def timed() -> tuple[Found, float]:
        found = await lookup.find_value(TARGET, OWN, [at(0)], ask)
        return found, asyncio.get_running_loop().time()

    found, took = in_virtual_time(timed)
    assert took <= most_s + 0.001
    assert found.values == tuple(values[: found.messages]), "what it gave counts"
    assert (len(found.values) == 64) is (page_s == 0.1)


def test_a_path_that_lies_cannot_hide_what_another_finds() -> None:
    value, older = sign_of(1, sequence=2), sign_of(1, sequence=1)

    def rule(who: Contact, question: Question) -> Answer:
        liar = who == at(0, 1) or distance(who.node_id, TARGET) < distance(at(200).node_id, TARGET)
        if liar:  # knows the nearest nodes of all, which are liars, and an old value
            return Values((older,), False, tuple(at(220 + n) for n in range(20)))
        told = in_steps(who, question)
        assert isinstance(told, Nodes)
        return Values((value,) if who == at(9) else (), False, told.contacts)

    one, _ = find_value(rule, [at(0, 1), at(0, 0)], Plan(paths=1))
    two, _ = find_value(rule, [at(0, 1), at(0, 0)], Plan(paths=2))
    assert one.values == (older,)
    assert two.values == (value,)


@pytest.mark.parametrize(("expected", "right"), [(None, False), (distance(at(11).node_id, TARGET), True)])
def test_colluders_that_are_too_far_apart_to_be_the_nearest_are_passed_over(expected: int | None, right: bool) -> None:
    liars = [at(8, number) for number in range(1000, 1020)]

    def rule(who: Contact, question: Question) -> Answer:
        if who in (at(0, 1), *liars):
            return Nodes(tuple(liars))
        bits = 256 - distance(who.node_id, TARGET).bit_length()
        return Nodes(tuple(at(bits + 1, number) for number in range(20)) if bits < 12 else ())

    asked = Asked(rule)
    found = in_virtual_time(
        lambda: lookup.find_node(TARGET, OWN, [at(0, 1), at(0, 0)], asked, Plan(), expected=expected)
    )
    assert (at(12) in found.closest) is right
    assert found.messages < 120


@pytest.mark.parametrize("paths", range(1, 9))
def test_no_node_is_asked_on_two_paths(paths: int) -> None:
    known = [at(0, number) for number in range(20)]
    found, asked = find(in_steps, known, Plan(paths=paths, trace=True))
    assert len(asked.contacts) == len(set(asked.contacts))
    first = {step.contact: step.path for step in found.steps if step.contact in known and step.path >= 0}
    assert all(path == known.index(who) % paths for who, path in first.items())
    assert {step.path for step in found.steps} - {-1} == set(range(paths))
    assert found.closest[0] == min(asked.contacts, key=lambda who: distance(who.node_id, TARGET))


def test_the_steps_tell_whom_it_asked_and_what_came_of_it() -> None:
    def rule(who: Contact, question: Question) -> Answer | None:
        if who == at(1, 1):
            return None
        return Refused(Refusal.TOO_MANY) if who == at(1, 2) else in_steps(who, question)

    found, _ = find(rule, [at(0)], Plan(trace=True))
    steps = {step.contact: step for step in found.steps}
    assert (steps[at(0)].depth, steps[at(0)].told) == (1, 3)
    assert steps[at(1, 1)].outcome == "it was not waited for"
    assert steps[at(1, 2)].outcome == "it refused"
    assert found.failures == 1
    assert len(found.steps) == found.messages
    assert find(rule, [at(0)])[0].steps == ()


def test_a_chain_without_end_ends() -> None:
    def rule(who: Contact, question: Question) -> Answer:
        return Nodes((at(256 - distance(who.node_id, TARGET).bit_length() + 1),))

    found, _ = find(rule, [at(0)])
    assert found.messages == MAX_DEPTH


def test_a_crowd_without_end_ends() -> None:
    def rule(who: Contact, question: Question) -> Answer | None:
        asked.append(who)
        told = tuple(at(200 - len(asked) % 50, 20 * len(asked) + number) for number in range(20))
        return None if len(asked) > 1 and len(asked) % 20 else Nodes(told)

    asked: list[Contact] = []
    for paths in (1, 8):
        asked.clear()
        found, _ = find(rule, [at(0, number) for number in range(20)], Plan(paths=paths))
        assert found.messages <= 2 * MAX_QUESTIONS


def test_what_does_not_concern_the_lookup_is_left_out() -> None:
    ourselves = Contact(OWN, contact(1).addresses)
    private = Contact(near(TARGET, 9, 0), (Udp("192.168.0.1", 8766),))

    def rule(who: Contact, question: Question) -> Answer:
        return Nodes((ourselves, private, at(3)) if who == at(0) else ())

    found, asked = find(rule, [at(0), ourselves])
    assert asked.contacts == [at(0), at(3)]
    assert found.closest == (at(3), at(0))


def test_a_false_address_does_not_hide_a_node() -> None:
    true = at(5)
    false = replace(true, addresses=(Udp("198.51.101.9", 1),))

    def rule(who: Contact, question: Question) -> Answer | None:
        if who == false:
            return None
        return Nodes({at(0, 0): (false,), at(0, 1): (true,)}.get(who, ()))

    found, asked = find(rule, [at(0, 0), at(0, 1)])
    assert found.closest[0] == true
    assert false in asked.contacts


@pytest.mark.parametrize("silent", [True, False], ids=["silent", "another is there"])
@pytest.mark.parametrize("order", [1, -1])
def test_a_false_address_on_one_path_does_not_hide_a_node_from_another(silent: bool, order: int) -> None:
    true = [at(9, number) for number in range(8)]
    false = [replace(who, addresses=(Udp("198.51.101.9", 1),)) for who in true]
    liar, honest = at(1, 0), at(0, 0)

    def rule(who: Contact, question: Question) -> Answer | None:
        if who in false:
            return None if silent else Refused(Refusal.TOO_MANY)
        if who == liar:
            return Nodes(tuple(false))
        return Nodes(tuple(true) if who == honest else ())

    found, asked = find(rule, [liar, honest, *(at(0, number) for number in range(1, 9))][::order], Plan(paths=2))
    assert set(false) & set(asked.contacts)
    assert set(true) <= set(found.closest)
    assert len(asked.contacts) == len(set(asked.contacts)), "no place is asked twice"


def test_no_number_of_false_addresses_displaces_that_of_a_node_we_know() -> None:
    true = at(8)
    liars = {at(1, n): replace(true, addresses=(Udp(f"198.51.101.{n + 1}", 1),)) for n in range(8)}

    def rule(who: Contact, question: Question) -> Answer | None:
        if who in liars.values():
            return None
        return Nodes((liars[who],) if who in liars else ())

    ours = [*(at(9, number) for number in range(7)), true]
    found, asked = find(rule, [who for pair in zip(ours, liars, strict=True) for who in pair], Plan(paths=2))
    assert asked.contacts.index(true) > asked.contacts.index(liars[at(1, 0)]), "it was taken by the liars' path"
    assert true in found.closest


def test_a_node_is_found_although_several_liars_each_have_it_elsewhere() -> None:
    true = at(9)
    places = [replace(true, addresses=(Udp(f"198.51.101.{number}", 1),)) for number in range(1, 4)]
    tellers = {at(1, number): place for number, place in enumerate((*places, true))}

    def rule(who: Contact, question: Question) -> Answer | None:
        if who in places:
            return None
        return Nodes((tellers[who],) if who in tellers else ())

    found, _ = find(rule, list(tellers))
    assert found.closest[0] == true


def test_nobody_known_is_nobody_found() -> None:
    found, _ = find(in_steps, [])
    assert (found.closest, found.values, found.hops, found.messages) == ((), (), 0, 0)


async def test_a_lookup_that_is_cancelled_leaves_nothing_behind() -> None:
    begun = asyncio.Event()

    async def ask(who: Contact, question: Question) -> Answer:
        begun.set()
        await asyncio.Event().wait()
        return Pong()

    before = asyncio.all_tasks()
    task = asyncio.ensure_future(lookup.find_node(TARGET, OWN, [at(0, n) for n in range(9)], ask, Plan(paths=4)))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("options", [{"paths": 0}, {"paths": 9}, {"width": 0}, {"width": 21}, {"alpha": 0}])
def test_a_plan_is_within_bounds(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="paths"):
        Plan(**options)


def sign_of(number: int, sequence: int = 1) -> SignedValue:
    return sign(keys(number), Kind.GATEWAY, "mesh", b"", now=EPOCH, lifetime_s=600, sequence=sequence)
