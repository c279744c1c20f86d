"""Frames wait for a mesh in the order they were heard, within bounds, and over the end of the process."""

import asyncio
import random
import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrelay.errors import BitrelayError, DiskFull, PortBusy
from bitrelay.gateway.bridge_frame import BridgeFrame, parse_frame
from bitrelay.gateway.config import StoreConfig
from bitrelay.gateway.store import FrameStore
from shared_protocol.frame import TYPE_ANNOUNCE, TYPE_FRAGMENT, TYPE_MESSAGE, TYPE_VOICE, encode, pad

NOW = 1_786_000_000
CONFIG = StoreConfig(frames=100, bytes=10_000, age_s=100.0)


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway" / "frames.sqlite"


@pytest.fixture
def store(path: Path, clock: Clock) -> Iterator[FrameStore]:
    store = FrameStore(path, CONFIG, clock)
    yield store
    store.close()


def frame(number: int, type: int = TYPE_MESSAGE, size: int = 10) -> BridgeFrame:
    made = parse_frame(encode(type, 5, NOW * 1000 + number, b"author 1", b"%d" % (number % 10) * size))
    assert made is not None
    return made


def put(store: FrameStore, *frames: BridgeFrame, target: str = "west", until: float = NOW + 1000) -> None:
    store.put("east", target, [(each, until) for each in frames], NOW * 1000)


def numbers(store: FrameStore, target: str = "west", most: int = 1000) -> list[int]:
    return [stored.frame.timestamp_ms - NOW * 1000 for stored in store.first(target, most)]


def test_frames_wait_by_mesh_in_the_order_they_came(store: FrameStore) -> None:
    put(store, frame(5), frame(3))
    put(store, frame(4), target="tal")
    put(store, frame(1, TYPE_ANNOUNCE), frame(2))
    assert store.targets() == {"west": 4, "tal": 1}
    assert (numbers(store), numbers(store, "tal"), numbers(store, "höhe")) == ([5, 3, 1, 2], [4], [])
    first, second = store.first("west", 2)
    assert (first.origin, first.target, first.heard_ms) == ("east", "west", NOW * 1000)
    assert first.number < second.number
    store.done([first.number, second.number, 999])
    assert (numbers(store), store.targets()) == ([1, 2], {"west": 2, "tal": 1})
    store.done([stored.number for stored in store.first("west", 5)])
    assert store.targets() == {"tal": 1}
    assert (store.dropped, store.expired) == (0, 0)


def test_a_frame_comes_back_as_it_was_heard(store: FrameStore) -> None:
    heard = parse_frame(pad(encode(TYPE_MESSAGE, 6, 1, b"author 1", b"hello", recipient=b"reader 2")))
    assert heard is not None
    put(store, heard)
    (stored,) = store.first("west", 1)
    assert all(getattr(stored.frame, name) == getattr(heard, name) for name in BridgeFrame.__dataclass_fields__)


def test_a_frame_waits_once_for_each_mesh(store: FrameStore) -> None:
    put(store, frame(1), frame(1))
    lower = parse_frame(frame(1).lowered())
    assert lower is not None
    put(store, lower)
    put(store, frame(1), target="tal")
    assert store.targets() == {"west": 1, "tal": 1}
    assert store.first("west", 5)[0].frame.value == frame(1).value


async def test_it_is_used_from_one_thread_after_the_other(store: FrameStore) -> None:
    await asyncio.to_thread(put, store, frame(1))
    assert await asyncio.to_thread(numbers, store) == numbers(store) == [1]


def test_the_number_of_one_that_has_gone_is_never_anothers(path: Path, clock: Clock) -> None:
    store = FrameStore(path, CONFIG, clock)
    put(store, frame(1))
    gone = store.first("west", 1)[0].number
    store.done([gone])
    store.close()
    store = FrameStore(path, CONFIG, clock)
    put(store, frame(2))
    assert store.first("west", 1)[0].number > gone
    store.close()


def test_what_is_put_late_has_its_place_by_when_it_was_heard(store: FrameStore) -> None:
    until = NOW + 1000.0
    store.put_all("east", "west", [(frame(number), until, NOW * 1000 + number) for number in (4, 1, 7)])
    store.put_all("east", "west", [(frame(number), until, NOW * 1000 + number) for number in (2, 8)])
    assert numbers(store) == [1, 2, 4, 7, 8]
    assert numbers(store, most=2) == [1, 2]


def test_they_survive_the_end_of_the_process(path: Path, clock: Clock) -> None:
    store = FrameStore(path, CONFIG, clock)
    put(store, *map(frame, range(10)))
    store.close()
    store.close()
    store = FrameStore(path, CONFIG, clock)
    assert store.set_aside is None
    assert numbers(store) == list(range(10))
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    assert store._database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL: every commit is synced
    store.close()


def test_what_phones_would_not_accept_is_let_go_and_counted(store: FrameStore, clock: Clock) -> None:
    put(store, frame(1), until=NOW + 10)
    put(store, frame(2), until=NOW + 1000)  # kept for 100 s at most
    put(store, frame(3), until=NOW + 20, target="tal")
    clock.now += 10
    assert numbers(store) == [2]
    assert store.expired == 1
    clock.now += 89
    assert (store.expire(), store.expired) == (1, 2)
    assert numbers(store) == [2]
    clock.now += 1
    assert (numbers(store), store.expired, store.targets()) == ([], 3, {})


def test_a_clock_that_is_set_back_keeps_nothing_for_longer(store: FrameStore, clock: Clock) -> None:
    clock.now -= 50
    put(store, frame(1))
    clock.now += 100
    assert numbers(store) == []


@pytest.mark.parametrize("bound", ["frames", "bytes"])
def test_when_it_is_full_the_oldest_of_the_lowest_class_goes(path: Path, clock: Clock, bound: str) -> None:
    size = len(frame(0).value)
    config = replace(CONFIG, frames=4) if bound == "frames" else replace(CONFIG, bytes=4 * size + 1)
    store = FrameStore(path, config, clock)
    put(store, frame(1), frame(2, TYPE_VOICE), frame(3, TYPE_FRAGMENT), frame(4, TYPE_ANNOUNCE))
    left = [
        (frame(5, TYPE_FRAGMENT), [1, 2, 3, 5]),
        (frame(6, TYPE_FRAGMENT), [1, 2, 5, 6]),
        (frame(7), [1, 2, 6, 7]),
        (frame(8), [1, 2, 7, 8]),
        (frame(9, TYPE_ANNOUNCE), [1, 2, 7, 8]),
        (frame(10), [1, 7, 8, 10]),
        (frame(11), [7, 8, 10, 11]),
    ]
    for dropped, (newcomer, there) in enumerate(left, 1):
        put(store, newcomer)
        assert numbers(store) == there
        assert store.dropped == dropped
    store.close()


def test_what_is_too_old_makes_room_first(path: Path, clock: Clock) -> None:
    store = FrameStore(path, replace(CONFIG, frames=2), clock)
    put(store, frame(1), until=NOW + 5)
    put(store, frame(2, TYPE_ANNOUNCE))
    clock.now += 6
    put(store, frame(3))
    assert (numbers(store), store.expired, store.dropped) == ([2, 3], 1, 0)
    store.close()


def test_a_smaller_bound_holds_from_the_start(path: Path, clock: Clock) -> None:
    store = FrameStore(path, CONFIG, clock)
    put(store, *map(frame, range(10)))
    store.close()
    store = FrameStore(path, replace(CONFIG, frames=3), clock)
    assert (numbers(store), store.dropped) == ([7, 8, 9], 7)
    store.close()


def test_a_put_that_fails_keeps_none_of_it(store: FrameStore) -> None:
    put(store, frame(1))
    (pages,) = store._database.execute("PRAGMA page_count").fetchone()
    store._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DiskFull):
        put(store, *(frame(number, size=400) for number in range(2, 60)))
    assert (store._count, store._bytes) == (1, len(frame(1).value))
    store._database.execute("PRAGMA max_page_count = 10000")
    put(store, frame(2))
    assert numbers(store) == [1, 2]


def test_one_that_another_process_writes_is_in_use(store: FrameStore, path: Path) -> None:
    store._database.execute("PRAGMA busy_timeout = 1")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(PortBusy):
        put(store, frame(1))
    other.close()
    put(store, frame(1))
    assert numbers(store) == [1]


def test_what_cannot_be_read_any_more_is_dropped_alone(path: Path, clock: Clock) -> None:
    store = FrameStore(path, CONFIG, clock)
    put(store, *map(frame, range(9)))
    store.close()
    database = sqlite3.connect(path)
    with database:
        database.execute("UPDATE frames SET value = zeroblob(size) WHERE number = 2")
        database.execute("UPDATE frames SET origin = x'00' WHERE number = 3")
        database.execute("UPDATE frames SET heard_ms = 'x' WHERE number = 4")
        database.execute("UPDATE frames SET key = 5 WHERE number = 5")
        database.execute("UPDATE frames SET size = 'x' WHERE number = 6")
        database.execute("UPDATE frames SET size = 1 << 60 WHERE number = 7")
        database.execute("UPDATE frames SET target = x'00ff' WHERE number = 8")
    database.close()
    store = FrameStore(path, CONFIG, clock)
    assert store.targets() == {"west": 5}
    assert numbers(store, most=2) == [0, 8]
    assert store.dropped == 6
    assert (store._count, store.targets()) == (3, {"west": 2})
    store.close()


def test_one_that_is_damaged_is_set_aside(path: Path, clock: Clock) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"no database" * 1000)
    store = FrameStore(path, CONFIG, clock)
    assert store.set_aside == path.with_name(f"frames.sqlite.damaged-{NOW}")
    assert store.set_aside.read_bytes() == b"no database" * 1000
    put(store, frame(1))
    assert numbers(store) == [1]
    store.close()


def test_a_byte_that_is_damaged_anywhere_is_no_crash(path: Path, clock: Clock) -> None:
    store = FrameStore(path, CONFIG, clock)
    put(store, *map(frame, range(60)))
    store.close()
    whole = path.read_bytes()
    source = random.Random(4)
    for at in [*range(16, 110, 3), *source.sample(range(len(whole)), 25)]:
        damaged = bytearray(whole)
        damaged[at] ^= source.randrange(1, 256)
        path.write_bytes(damaged)
        try:
            store = FrameStore(path, CONFIG, clock)
            try:
                put(store, frame(100))
                assert len(numbers(store)) + store.dropped <= 61
            finally:
                store.close()
        except BitrelayError as error:
            assert error.what
        for file in path.parent.iterdir():
            file.unlink()


types = st.sampled_from([TYPE_MESSAGE, TYPE_VOICE, TYPE_FRAGMENT, TYPE_ANNOUNCE])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(st.tuples(st.integers(0, 30), types), max_size=6)),
        st.tuples(st.just("done"), st.integers(0, 3)),
        st.tuples(st.just("wait"), st.integers(0, 60)),
    ),
    max_size=15,
)


@settings(max_examples=20)
@given(steps)
def test_it_keeps_what_a_list_would(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, object]]) -> None:
    config, clock = replace(CONFIG, frames=8), Clock()
    store = FrameStore(tmp_path_factory.mktemp("store") / "frames.sqlite", config, clock)
    rank = {TYPE_MESSAGE: 0, TYPE_VOICE: 1, TYPE_FRAGMENT: 2, TYPE_ANNOUNCE: 3}
    model: list[tuple[BridgeFrame, float]] = []
    dropped = expired = 0

    def expire() -> None:
        nonlocal expired
        before = len(model)
        model[:] = [each for each in model if each[1] > clock.now]
        expired += before - len(model)

    for step, value in steps:
        if step == "put":
            assert isinstance(value, list)
            frames = [frame(number, type) for number, type in value]
            store.put("east", "west", [(each, NOW + 1e6) for each in frames], int(clock.now * 1000))
            for each in frames:
                if each.key not in [other.key for other, _ in model]:
                    model.append((each, clock.now + config.age_s))
            if len(model) > config.frames:
                expire()
            while len(model) > config.frames:
                model.remove(max(model, key=lambda each: rank[each[0].type]))
                dropped += 1
        elif step == "done":
            assert isinstance(value, int)
            store.done([stored.number for stored in store.first("west", value)])
            expire()
            del model[:value]
        else:
            assert isinstance(value, int)
            clock.now += value
    expire()
    assert [stored.frame.value for stored in store.first("west", 100)] == [each.value for each, _ in model]
    assert (store.dropped, store.expired, store._count) == (dropped, expired, len(model))
    assert store._bytes == sum(len(each.value) for each, _ in model)
    store.close()
