"""What waits to be sent: everybody's share, and what is dropped."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrelay.transports.fair_queue import CLASSES, ClassLimits, Drop, FairQueue, Traffic

BIG = {traffic: ClassLimits(limits.weight, 10**9, 10**6) for traffic, limits in CLASSES.items()}


def queue(classes: dict[Traffic, ClassLimits] | None = None) -> FairQueue[object]:
    return FairQueue(random.Random(1), classes)


@pytest.mark.requirement("LIM-20")
@pytest.mark.parametrize(
    "sizes",
    [dict.fromkeys(Traffic, 100), dict(zip(Traffic, (1000, 50, 300, 10), strict=True))],
    ids=["of one size", "of different sizes"],
)
def test_classes_that_all_have_something_to_send_share_the_bytes_by_weight(sizes: dict[Traffic, int]) -> None:
    waiting = queue(BIG)
    for traffic in Traffic:
        for _ in range(300_000 // sizes[traffic]):
            waiting.push(traffic, sizes[traffic], traffic)
    sent: Counter[Traffic] = Counter()
    while sent.total() < 300_000:
        traffic = waiting.pop()
        assert isinstance(traffic, Traffic)
        sent[traffic] += sizes[traffic]
    total_weight = sum(limits.weight for limits in CLASSES.values())
    for traffic, limits in CLASSES.items():
        assert sent[traffic] / sent.total() == pytest.approx(limits.weight / total_weight, abs=0.01)


@pytest.mark.requirement("LIM-20")
def test_what_one_class_leaves_is_anothers() -> None:
    waiting = queue(BIG)
    for number in range(100):
        waiting.push(number, 1000, Traffic.BACKGROUND)
    assert [waiting.pop() for _ in range(100)] == list(range(100))
    assert waiting.pop() is None


@pytest.mark.requirement("LIM-20")
def test_an_interactive_message_passes_the_bulk_that_waits() -> None:
    waiting = queue(BIG)
    for number in range(200):
        waiting.push(number, 1000, Traffic.BULK)
    for _ in range(100):
        waiting.push("typed", 100, Traffic.INTERACTIVE)
        assert "typed" in (waiting.pop(), waiting.pop())


def test_a_class_that_was_idle_has_not_saved_up_a_share() -> None:
    waiting = queue(BIG)
    for _ in range(100):
        waiting.push(Traffic.BULK, 1000, Traffic.BULK)
    for _ in range(50):
        waiting.pop()
    for _ in range(100):
        waiting.push(Traffic.BACKGROUND, 1000, Traffic.BACKGROUND)
    sent = Counter(waiting.pop() for _ in range(30))
    assert sent[Traffic.BACKGROUND] == pytest.approx(10, abs=1)


@pytest.mark.requirement("LIM-21")
@pytest.mark.parametrize(
    ("traffic", "reason"),
    [(Traffic.INTERACTIVE, Drop.FULL), (Traffic.STREAMING, Drop.OLDEST)],
)
def test_a_full_class_drops_by_its_policy_and_counts(traffic: Traffic, reason: Drop) -> None:
    waiting = queue()
    most = CLASSES[traffic].most_items
    for number in range(most):
        assert waiting.push(number, 1, traffic).refused is None
    assert not waiting.has_room(1, traffic)
    pushed = waiting.push("one more", 1, traffic)
    assert waiting.dropped == {(traffic, reason): 1}
    assert len(waiting) == most
    if reason is Drop.OLDEST:
        assert pushed.dropped == (0,) and pushed.refused is None
    else:
        assert pushed.dropped == () and pushed.refused is Drop.FULL


@pytest.mark.requirement("LIM-21")
@pytest.mark.parametrize("traffic", [Traffic.BULK, Traffic.BACKGROUND])
def test_bulk_is_dropped_early_and_the_fuller_the_likelier(traffic: Traffic) -> None:
    limits = CLASSES[traffic]
    refused = []
    for fill in (limits.early * 0.9, limits.early + (1 - limits.early) / 2, 0.95):
        waiting = queue({traffic: ClassLimits(1, 1_000_000, 10**6, limits.early)})
        size = int(fill * 1_000_000) // 10_000
        while waiting._bytes[traffic] < fill * 1_000_000:
            waiting.push("filling", size, traffic)
        before = waiting.dropped[traffic, Drop.EARLY]
        refused.append(sum(waiting.push("more", 0, traffic).refused is Drop.EARLY for _ in range(1000)))
        assert waiting.dropped[traffic, Drop.EARLY] == before + refused[-1]
    assert refused[0] == 0 and 400 < refused[1] < 600 and refused[2] > 850


def test_what_is_too_large_for_its_class_drops_nothing_else() -> None:
    waiting = queue()
    waiting.push("there", 10, Traffic.STREAMING)
    assert waiting.push("huge", 10**7, Traffic.STREAMING).refused is Drop.FULL
    assert len(waiting) == 1


Steps = st.lists(st.tuples(st.sampled_from(["push", "pop", "remove"]), st.sampled_from(Traffic), st.integers(0, 9_000)))


@given(Steps)
def test_each_item_leaves_once_in_the_order_of_its_class_and_bounds_hold(
    steps: list[tuple[str, Traffic, int]],
) -> None:
    waiting, pushed, number = queue(), {traffic: list[tuple[Traffic, int]]() for traffic in Traffic}, 0
    for step, traffic, size in steps:
        if step == "push":
            number += 1
            item = (traffic, number)
            result = waiting.push(item, size, traffic)
            for dropped in result.dropped:
                assert pushed[traffic].pop(0) == dropped
            if result.refused is None:
                pushed[traffic].append(item)
        elif step == "remove" and pushed[traffic]:
            assert waiting.remove(pushed[traffic].pop(), traffic)
        elif step == "pop":
            item = waiting.pop()
            if item is None:
                assert not any(pushed.values())
            else:
                assert pushed[item[0]].pop(0) == item  # type: ignore[index]
        assert len(waiting) == sum(map(len, pushed.values()))
    assert sorted(waiting.clear()) == sorted(item for items in pushed.values() for item in items)  # type: ignore[type-var]
    assert len(waiting) == 0 and waiting.pop() is None
