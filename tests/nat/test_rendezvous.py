"""Two hosts exchange offers by way of a node that both are connected to; the paths themselves are test_punching's."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aioice import Candidate

from bitrelay.errors import BadData, NotConnected, Unreachable
from bitrelay.nat.offer import Offer, encode
from bitrelay.nat.punch import PunchedPath
from bitrelay.nat.rendezvous import MAX_MESSAGE, OFFERS_PER_MIN, PAIR_PER_MIN, Rendezvous, RendezvousNode

ANNA, BELA, NODE, NOBODY = (bytes((letter,)) * 32 for letter in b"ABN0")


class Path(PunchedPath):
    """A path that opens when both ends have one another's offers."""

    def __init__(self, starts: bool) -> None:
        self.starts = starts
        self.heard: Offer | None = None
        self.hold: asyncio.Event | None = None
        self.closed = False

    async def offer(self) -> Offer:
        return Offer("starts" if self.starts else "answers", "p" * 22, (_candidate(),))

    async def connect(self, other: Offer, timeout: float = 1.0) -> None:
        if self.hold is not None:
            await self.hold.wait()
        self.heard = other

    async def close(self) -> None:
        self.closed = True


def _candidate() -> Candidate:
    return Candidate("f", 1, "udp", 1, "192.0.2.1", 9, "host")


class Meeting:
    """Anna and Bela with a node between them; everything is carried at once."""

    def __init__(self) -> None:
        self.now = 0.0
        self.paths: asyncio.Queue[tuple[bytes, PunchedPath]] = asyncio.Queue()
        self.made: list[Path] = []
        self.wanted = True
        self.offered = asyncio.Event()
        self.hold: asyncio.Event | None = None
        self.node = RendezvousNode(self._from_node, lambda peer: peer in self.hosts, lambda: self.now)
        self.hosts = {
            peer: Rendezvous(self._to_node(peer), self._make, may_open=self._may, on_path=self._opened)
            for peer in (ANNA, BELA)
        }

    def _to_node(self, sender: bytes) -> Callable[[bytes, bytes], Awaitable[None]]:
        async def send(node: bytes, message: bytes) -> None:
            assert node == NODE and len(message) <= MAX_MESSAGE
            assert await self.node.hear(sender, message)

        return send

    async def _from_node(self, peer: bytes, message: bytes) -> None:
        if peer not in self.hosts:
            raise NotConnected("gone", device=peer.hex())
        assert await self.hosts[peer].hear(NODE, message)

    def _make(self, starts: bool) -> PunchedPath:
        self.made.append(Path(starts))
        self.made[-1].hold = self.hold
        return self.made[-1]

    def _may(self, peer: bytes) -> bool:
        self.offered.set()
        return self.wanted

    async def _opened(self, peer: bytes, path: PunchedPath) -> None:
        self.paths.put_nowait((peer, path))


async def test_both_ends_get_a_path_and_know_with_whom() -> None:
    meeting = Meeting()
    path = await meeting.hosts[ANNA].punch(NODE, BELA, timeout=5)
    peer, other = await asyncio.wait_for(meeting.paths.get(), 5)
    assert peer == ANNA
    assert isinstance(path, Path) and isinstance(other, Path)
    assert path.heard is not None and path.heard.user == "answers"
    assert other.heard is not None and other.heard.user == "starts"
    assert meeting.node.counts == {"carried": 2}


async def test_somebody_the_node_does_not_know_is_absent() -> None:
    meeting = Meeting()
    with pytest.raises(Unreachable):
        await meeting.hosts[ANNA].punch(NODE, NOBODY, timeout=5)
    assert [path.closed for path in meeting.made] == [True]


async def test_who_asks_too_often_is_told_so_and_nobody_else_suffers() -> None:
    meeting = Meeting()
    offer = bytes(8) + encode(Offer("user", "p" * 22, (_candidate(),)))
    for _ in range(PAIR_PER_MIN + 5):
        await meeting.node.hear(NOBODY, bytes((1,)) + BELA + offer)
    assert meeting.node.counts["too many"] == 5
    for letter in range(OFFERS_PER_MIN):
        await meeting.node.hear(NOBODY, bytes((1,)) + bytes((letter,)) * 32 + offer)
    too_many = 5 + (PAIR_PER_MIN + 5)
    assert meeting.node.counts["too many"] == too_many
    await meeting.hosts[ANNA].punch(NODE, BELA, timeout=5)
    meeting.now += 60
    assert await meeting.node.hear(NOBODY, bytes((1,)) + BELA + offer)
    assert meeting.node.counts["too many"] == too_many


async def test_an_offer_that_is_not_wanted_opens_nothing() -> None:
    meeting = Meeting()
    meeting.wanted = False
    with pytest.raises(TimeoutError):
        await meeting.hosts[ANNA].punch(NODE, BELA, timeout=0.05)
    assert meeting.hosts[BELA].counts == {"not wanted": 1}
    assert [path.starts for path in meeting.made] == [True]


async def test_the_answer_of_somebody_else_counts_for_nothing() -> None:
    meeting = Meeting()
    meeting.wanted = False
    asked = asyncio.create_task(meeting.hosts[ANNA].punch(NODE, BELA, timeout=5))
    await asyncio.wait_for(meeting.offered.wait(), 5)
    (number,) = meeting.hosts[ANNA]._asked
    await meeting.hosts[ANNA].hear(NODE, bytes((2,)) + NOBODY + number + b"x")
    assert not asked.done()
    await meeting.hosts[ANNA].hear(NODE, bytes((2,)) + BELA + number + b"no offer")
    with pytest.raises(BadData):
        await asked


@pytest.mark.parametrize("message", [b"", b"\1" * 40, b"\3" * 41, b"\7" + bytes(60), b"\1" + bytes(MAX_MESSAGE)])
async def test_what_is_no_message_is_not_carried(message: bytes) -> None:
    assert not await Meeting().node.hear(ANNA, message)


async def test_receivers_that_are_made_up_make_nobody_forget_a_limit() -> None:
    meeting = Meeting()
    offer = bytes(8) + encode(Offer("user", "p" * 22, (_candidate(),)))
    for _ in range(2):
        for _ in range(PAIR_PER_MIN):
            await meeting.node.hear(ANNA, bytes((2,)) + BELA + offer)
        for number in range(5000):
            await meeting.node.hear(ANNA, bytes((2,)) + number.to_bytes(32, "big") + offer)
    assert meeting.node.counts["carried"] == PAIR_PER_MIN


async def test_one_peer_does_not_take_all_the_places() -> None:
    meeting = Meeting()
    meeting.hold = asyncio.Event()
    offer = encode(Offer("user", "p" * 22, (_candidate(),)))
    for peer in (NOBODY, NOBODY, NOBODY, ANNA):
        await meeting.hosts[BELA].hear(NODE, bytes((1,)) + peer + bytes(8) + offer)
    assert meeting.hosts[BELA].counts == {"too many": 1}
    meeting.hold.set()
    seen = [(await asyncio.wait_for(meeting.paths.get(), 5))[0] for _ in range(3)]
    assert sorted(seen) == [NOBODY, NOBODY, ANNA]
    await meeting.hosts[BELA].close()
