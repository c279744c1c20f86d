"""What is remembered of frames, for how long, and how many."""

from bitrelay.gateway.frame_cache import LIFETIME_S, FrameCache


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_an_entry_lasts_its_lifetime_and_not_twice_that() -> None:
    cache: FrameCache[str] = FrameCache()
    cache.forget(0)
    cache.put(key(1), "early", 1)
    for now in range(10, int(LIFETIME_S) + 2, 10):
        cache.forget(now)
    cache.put(key(2), "late", LIFETIME_S)
    assert (cache.get(key(1)), cache.get(key(2)), cache.get(key(3))) == ("early", "late", None)
    cache.forget(2 * LIFETIME_S)
    assert (cache.get(key(1)), cache.get(key(2))) == (None, "late")
    cache.forget(3 * LIFETIME_S)
    assert len(cache) == 0


def test_it_never_holds_more_than_two_generations_and_keeps_the_newest() -> None:
    cache: FrameCache[int] = FrameCache(most=100)
    for number in range(10_000):
        cache.put(key(number), number, number)
        assert len(cache) <= 200
    cache.put(key(9_999), 9_999, 10_000)  # one that is there takes no room
    assert cache.get(key(9_850)) == 9_850
    assert all(cache.get(key(number)) == number for number in range(9_900, 10_000))


def test_what_is_put_again_is_changed_and_what_is_dropped_is_gone() -> None:
    cache: FrameCache[str] = FrameCache(most=1)
    cache.put(key(1), "old", 0)
    cache.put(key(2), "other", 0)  # key 1 is of the older generation now
    cache.put(key(1), "new", 0)
    assert cache.get(key(1)) == "new"
    cache.drop(key(1))
    assert cache.get(key(1)) is None
    cache.drop(key(1))
