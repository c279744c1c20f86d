"""What waits to go down: shares of the classes, turns of the gateways, and what goes when it is full."""

from collections import Counter
from itertools import count
from random import Random

import pytest

from bitrelay.gateway.bridge_frame import BridgeFrame
from bitrelay.gateway.downlink_queue import DownlinkQueue, Waiting
from bitrelay.transports.fair_queue import CLASSES, Traffic
from shared_protocol.frame import TYPE_FRAGMENT, TYPE_MESSAGE, TYPE_PREKEYS, TYPE_VOICE

from .bridge_frames import ALICE, BOB, announce, author, frame, gateway

TYPES = {
    Traffic.INTERACTIVE: TYPE_MESSAGE,
    Traffic.STREAMING: TYPE_VOICE,
    Traffic.BULK: TYPE_FRAGMENT,
    Traffic.BACKGROUND: TYPE_PREKEYS,
}


_numbers = count(1)


def of(traffic: Traffic, size: int = 100, **fields: bytes) -> BridgeFrame:
    """One of this class, with a payload of so many bytes."""
    found = frame(TYPES[traffic], payload=next(_numbers).to_bytes(8, "big") + bytes(size - 8), **fields)
    assert found.traffic is traffic
    return found


def waiting(found: BridgeFrame, whence: int = 1) -> Waiting:
    return Waiting(found, "far", gateway(whence))


def taken(queue: DownlinkQueue, most: int = 10**6) -> list[Waiting]:
    result = []
    while len(result) < most and (first := queue.first()) is not None:
        queue.take(first)
        result.append(first)
    return result


@pytest.mark.requirement("GWY-14")
@pytest.mark.requirement("LIM-20")
@pytest.mark.requirement("LIM-21")
@pytest.mark.parametrize("sizes", [(100, 100, 100, 100), (200, 60, 400, 30)], ids=["of one size", "of different sizes"])
def test_classes_share_the_bytes_by_weight(sizes: tuple[int, ...]) -> None:
    queue = DownlinkQueue(10**6)
    for traffic, size in zip(Traffic, sizes, strict=True):
        for _ in range(120_000 // size):
            queue.push(waiting(of(traffic, size)))
    sent: Counter[Traffic] = Counter()
    while sent.total() < 120_000:
        for found in taken(queue, 1):
            sent[found.frame.traffic] += len(found.frame.value)
    weights = sum(limits.weight for limits in CLASSES.values())
    for traffic in Traffic:
        assert sent[traffic] / sent.total() == pytest.approx(CLASSES[traffic].weight / weights, abs=0.01)


@pytest.mark.requirement("GWY-14")
def test_talk_passes_the_pictures_that_wait_and_pictures_go_on() -> None:
    queue = DownlinkQueue(1000)
    for _ in range(300):
        queue.push(waiting(of(Traffic.BULK)))
    taken(queue, 50)
    passed = []
    for _ in range(50):
        talk = waiting(of(Traffic.INTERACTIVE))
        queue.push(talk)
        passed.append(taken(queue, 1) == [talk])
        taken(queue, 1)
    assert all(passed)
    assert queue.counts()[Traffic.BULK] == 200


def test_a_class_that_was_idle_has_not_saved_up_a_share() -> None:
    queue = DownlinkQueue(1000)
    for _ in range(100):
        queue.push(waiting(of(Traffic.BULK)))
    taken(queue, 50)
    for _ in range(100):
        queue.push(waiting(of(Traffic.BACKGROUND)))
    sent = Counter(found.frame.traffic for found in taken(queue, 30))
    assert sent[Traffic.BACKGROUND] == pytest.approx(10, abs=1)


def test_what_is_alone_goes_in_order() -> None:
    queue = DownlinkQueue(1000)
    frames = [waiting(of(Traffic.BULK)) for _ in range(20)]
    for each in frames:
        assert queue.push(each) is None
    assert taken(queue) == frames
    assert queue.first() is None
    assert len(queue) == 0


def test_gateways_take_turns() -> None:
    queue = DownlinkQueue(1000)
    for _ in range(100):
        queue.push(waiting(of(Traffic.INTERACTIVE), 1))
    for _ in range(3):
        queue.push(waiting(of(Traffic.INTERACTIVE), 2))
    assert [int.from_bytes(found.gateway, "big") for found in taken(queue, 7)] == [1, 2, 1, 2, 1, 2, 1]


@pytest.mark.requirement("LIM-21")
def test_a_full_queue_gives_up_the_oldest_of_its_lowest_class() -> None:
    queue = DownlinkQueue(4)
    oldest, older = waiting(of(Traffic.BULK)), waiting(of(Traffic.BULK))
    for each in (waiting(of(Traffic.INTERACTIVE)), oldest, older, waiting(of(Traffic.STREAMING))):
        assert queue.push(each) is None
    low = waiting(of(Traffic.BACKGROUND))
    assert queue.push(low) is low
    assert queue.push(waiting(of(Traffic.INTERACTIVE))) is oldest
    assert queue.push(waiting(of(Traffic.BULK))) is older
    assert len(queue) == 4
    assert queue.counts() == dict(zip(Traffic, (2, 1, 1, 0), strict=True))


def test_a_full_queue_takes_from_the_gateway_that_has_most() -> None:
    queue = DownlinkQueue(10)
    honest = [waiting(of(Traffic.INTERACTIVE), 1) for _ in range(3)]
    for each in honest:
        queue.push(each)
    for _ in range(1000):
        queue.push(waiting(of(Traffic.INTERACTIVE), 2))
    assert [found for found in taken(queue) if found.gateway == gateway(1)] == honest


def test_what_did_not_go_is_the_next_again() -> None:
    queue = DownlinkQueue(10)
    for number in range(3):
        queue.push(waiting(of(Traffic.INTERACTIVE), number))
        queue.push(waiting(of(Traffic.BULK), number))
    (first,) = taken(queue, 1)
    queue.put_back(first)
    assert queue.first() is first
    batch = taken(queue, 4)
    for each in reversed(batch):
        queue.put_back(each)
    assert sorted(each.number for each in taken(queue)) == [1, 2, 3, 4, 5, 6]


def test_an_announce_goes_before_its_authors_talk() -> None:
    queue = DownlinkQueue(100)
    told = Waiting(announce(), "far", gateway(1), ALICE.signing_key)
    queue.push(waiting(of(Traffic.BACKGROUND)))
    queue.push(told)
    for phone in (BOB, ALICE):
        queue.push(waiting(of(Traffic.INTERACTIVE, sender=phone.peer_id)))
    order = [(found.frame.traffic, found.frame.sender) for found in taken(queue)]
    assert order == [
        (Traffic.INTERACTIVE, BOB.peer_id),
        (Traffic.BACKGROUND, ALICE.peer_id),
        (Traffic.INTERACTIVE, ALICE.peer_id),
        (Traffic.BACKGROUND, ALICE.peer_id),
    ]


def test_counts_agree_whatever_is_done() -> None:
    rng = Random(3)
    queue = DownlinkQueue(20)
    there: set[Waiting] = set()
    out: list[Waiting] = []
    for _ in range(5000):
        match rng.randrange(5):
            case 0 | 1:
                traffic = rng.choice(list(Traffic))
                each = waiting(of(traffic, sender=author(rng.randrange(3))), rng.randrange(4))
                each.signer = b"s" if traffic is Traffic.BACKGROUND else None
                gone = queue.push(each)
                there.add(each)
                there.discard(gone) if gone else None
            case 2:
                out = taken(queue, 1) or out
                there.difference_update(out)
            case 3 if out and len(queue) < 20:
                queue.put_back(out[0])
                there.add(out.pop())
            case 4 if there:
                each = rng.choice(sorted(there, key=lambda found: found.number))
                assert queue.find(each.frame.key) is each
                queue.remove(each)
                there.remove(each)
        assert len(queue) == len(there) == sum(queue.counts().values()) <= 20
    assert set(queue.clear()) == there
    assert len(queue) == 0
    assert queue.first() is None
