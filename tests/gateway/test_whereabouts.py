"""In which mesh an author is held to be, and what those who take others' names can do."""

from collections.abc import Callable

import pytest

from bitrelay.gateway.whereabouts import CONTESTED_S, LIFETIME_S, MOST_AUTHORS, Whereabouts

from .bridge_frames import author

V, OTHER = author(1), author(2)
KEY, FALSE_KEY = b"k" * 32, b"f" * 32
Step = Callable[[Whereabouts], None]


def said(mesh: str, now: float) -> Step:
    return lambda places: places.learn(V, mesh, now)


def announced(mesh: str, now: float, made_ms: int, signer: bytes = KEY) -> Step:
    return lambda places: places.learn_proved(V, mesh, signer, made_ms, now, 90)


@pytest.mark.parametrize(
    ("steps", "now", "where"),
    [
        ([], 0, None),
        ([said("A", 0)], LIFETIME_S, "A"),
        ([said("A", 0)], LIFETIME_S + 1, None),
        ([said("A", 0), said("A", 500)], 1000, "A"),
        # He moved, or somebody took his name: for a minute nobody knows.
        ([said("A", 0), said("B", 10)], 10 + CONTESTED_S - 1, None),
        ([said("A", 0), said("B", 10)], 10 + CONTESTED_S, "B"),
        ([said("A", 0), said("B", 10), said("A", 20)], 20 + CONTESTED_S, "A"),
        # A long silence is no contest.
        ([said("A", 0), said("B", LIFETIME_S + 1)], LIFETIME_S + 1, "B"),
        # What an announce proved, talk does not undo while it holds.
        ([announced("A", 0, 1000), said("B", 89)], 89, "A"),
        ([announced("A", 0, 1000), said("B", 91)], 91, None),
        # The announce settles it.
        ([said("B", 0), said("A", 1), announced("A", 2, 1000)], 2, "A"),
        # He did move.
        ([announced("A", 0, 1000), announced("B", 10, 11_000)], 10, "B"),
        # Somebody plays his announce back elsewhere.
        ([announced("A", 0, 1000), announced("B", 10, 1000)], 10, "A"),
        ([announced("A", 0, 1000), announced("B", 10, 11_000), announced("A", 20, 1000)], 20, "B"),
        # Somebody else's key signs for his id: nobody knows, and his next announce settles it.
        ([announced("A", 0, 1000), announced("B", 10, 11_000, FALSE_KEY)], 10, None),
        ([announced("A", 0, 1000), announced("B", 10, 11_000, FALSE_KEY), announced("A", 11, 12_000)], 11, "A"),
        ([announced("A", 0, 1000), announced("A", 10, 11_000, FALSE_KEY)], 10, "A"),
        ([announced("A", 0, 1000), lambda places: places.doubt(V, "B", 10)], 10, None),
        ([announced("A", 0, 1000), lambda places: places.doubt(V, "A", 10)], 10, "A"),
        ([said("A", 0), lambda places: places.unlearn(V, "A")], 0, None),
        ([said("A", 0), lambda places: places.unlearn(V, "B")], 0, "A"),
    ],
)
def test_where_he_is(steps: list[Step], now: float, where: str | None) -> None:
    places = Whereabouts()
    for step in steps:
        step(places)
    assert places.where(V, now) == where
    assert places.where(OTHER, now) is None


def test_the_authors_are_bounded_and_who_is_heard_stays() -> None:
    places = Whereabouts(most=100)
    for number in range(1000):
        if number % 60 == 0:
            assert number == 0 or places.where(OTHER, number) == "B"
            places.learn(OTHER, "B", number)
        places.learn(author(10 + number), "A", number)
        assert len(places) <= 100
    assert places.where(author(1009), 1000) == "A"
    assert places.where(author(900), 1000) is None
    assert MOST_AUTHORS == 8192


def test_who_is_not_heard_of_is_forgotten() -> None:
    places = Whereabouts()
    for number in range(10):
        places.learn(author(number), "A", number)
    places.forget(LIFETIME_S + 5)
    assert len(places) == 5
    places.forget(LIFETIME_S + 10)
    assert len(places) == 0
