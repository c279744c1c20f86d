"""Questions and answers over real sockets: what is proved, what is lost, and what a flood does."""

import asyncio
import secrets
import socket
import time

import pytest

from bitrelay.dht.answer_cache import MOST_ANSWERS
from bitrelay.dht.cookies import PERIOD_S
from bitrelay.dht.flood import FloodLimits, Rate
from bitrelay.dht.message_codec import Message
from bitrelay.dht.messages import (
    MAX_DATA,
    MAX_NAME,
    Contact,
    FindNode,
    FindValue,
    Nodes,
    Ping,
    Pong,
    Refusal,
    Refused,
    Store,
    Stored,
    Values,
)
from bitrelay.dht.udp import STUN_PER_S
from bitrelay.dht.wire import ANYONE, NO_COOKIE, Signer, peek
from bitrelay.errors import DeviceTimeout, PeerError, PortBusy, TransportClosed, WrongAddress
from bitrelay.nat.stun_client import find_out
from bitrelay.transports.address import Udp
from tests.dht.fuzz import feed
from tests.dht.nodes import ByHand, all_of, peer, record, until
from tests.dht.samples import contact, value
from tests.identity.mined import BITS, keys_of

TARGET = bytes(range(32))
KNOWN_NODES = Nodes(tuple(contact(number, "2001:db8::1") for number in range(20)))


@pytest.mark.requirement("DHT-16")
async def test_each_question_gets_its_answer_and_both_ends_know_who_the_other_is() -> None:
    async with peer(1) as ada, peer(2) as bob:
        bob.answers = lambda question: {
            Ping: Pong(), FindNode: KNOWN_NODES, FindValue: Values((value(1),), True, ()), Store: Stored(),
        }[type(question)]  # fmt: skip
        assert await ada.network.ask(bob.contact, FindNode(TARGET)) == KNOWN_NODES
        assert await ada.network.ask(bob.contact, FindValue(TARGET)) == Values((value(1),), True, ())
        assert await ada.network.ask(bob.contact, Store(value(2))) == Stored()
        assert await ada.network.ask(bob.contact, Ping()) == Pong(ada.network.bound[0])
        assert bob.asked == [
            (ada.contact, question) for question in (FindNode(TARGET), FindValue(TARGET), Store(value(2)), Ping())
        ]
        assert ada.network.proofs.knows(bob.keys.peer_id) and bob.network.proofs.knows(ada.keys.peer_id)


async def test_the_first_question_costs_one_turn_more_and_the_later_ones_none_either_way() -> None:
    async with peer(1) as ada, peer(2) as bob:
        costs = []
        for asks, asked in ((ada, bob), (ada, bob), (bob, ada), (bob, ada)):
            before = ada.network.traffic.sent + bob.network.traffic.sent
            await asks.network.ask(asked.contact, FindNode(TARGET))
            costs.append(ada.network.traffic.sent + bob.network.traffic.sent - before)
        assert costs == [4, 2, 2, 2]


async def test_the_largest_value_is_stored_at_the_first_question() -> None:
    largest = value(1, bytes(MAX_DATA), "n" * MAX_NAME)
    async with peer(1) as ada, peer(2) as bob:
        assert await ada.network.ask(bob.contact, Store(largest)) == Stored()
        assert bob.asked == [(ada.contact, Store(largest))]


async def test_a_record_that_finds_no_room_beside_a_question_or_an_answer_goes_with_a_ping(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    largest = value(1, bytes(MAX_DATA), "n" * MAX_NAME)
    for module in ("udp_questions", "udp_answers"):
        monkeypatch.setattr(f"bitrelay.dht.{module}.ROOM", 820)
    async with peer(1) as ada, peer(2) as bob:
        bob.answers = lambda question: Pong() if question == Ping() else Values((largest,), False, ())
        assert await ada.network.ask(bob.contact, Store(largest)) != Refused(Refusal.NOT_PROVEN)
        assert bob.asked == [(ada.contact, Ping()), (ada.contact, Store(largest))]
        for one in (ada, bob):
            one.network.proofs._expiry.clear()
        assert await ada.network.ask(bob.contact, FindValue(TARGET)) == Values((largest,), False, ())
        assert ada.network.proofs.knows(bob.keys.peer_id)


async def test_who_shows_no_work_is_answered_and_not_to_be_remembered() -> None:
    async with peer(1, shows=lambda: None) as ada, peer(2) as bob:
        assert await ada.network.ask(bob.contact, FindNode(TARGET)) == Nodes(())
        assert bob.asked == [(None, FindNode(TARGET))]


async def test_who_shows_too_little_work_or_that_of_another_is_no_better_off() -> None:
    async with peer(1) as ada, peer(2, base=BITS + 1) as bob, peer(3, shows=lambda: record(1)) as eve:
        for asks, asked in ((ada, bob), (eve, ada)):
            asked.asked.clear()
            assert await asks.network.ask(asked.contact, FindNode(TARGET)) == Nodes(())
            assert asked.asked == [(None, FindNode(TARGET))]
            with pytest.raises(PeerError, match="no proof of work"):
                await asked.network.ask(asks.contact, FindNode(TARGET))


async def test_a_node_is_found_at_an_address_alone() -> None:
    async with peer(1) as ada, peer(2) as bob:
        assert await ada.network.greet(bob.network.bound[0]) == bob.contact
        assert bob.asked == [(None, Ping())]
        await ada.network.ask(bob.contact, FindNode(TARGET))
        assert bob.asked[-1] == (ada.contact, FindNode(TARGET))


async def test_a_lost_question_and_a_lost_answer_are_made_good_and_the_work_is_done_once() -> None:
    async with peer(1) as ada, peer(2) as bob:
        await ada.network.ask(bob.contact, Ping())
        for lossy in (ada, bob):
            lost: list[bytes] = []

            def lose_first(datagram: bytes, lost: list[bytes] = lost) -> bool:
                lost.append(datagram)
                return len(lost) == 1

            bob.asked.clear()
            lossy.endpoint.loses = lose_first
            assert await ada.network.ask(bob.contact, FindNode(TARGET)) == Nodes(())
            lossy.endpoint.loses = lambda datagram: False
            assert lost[0] == lost[1]
            assert bob.asked == [(ada.contact, FindNode(TARGET))]


async def test_nobody_there_is_told_after_the_time_and_nothing_is_left() -> None:
    async with peer(1) as ada:
        gone = Contact(keys_of(2).peer_id, (Udp("127.0.0.1", 9),))
        with pytest.raises(DeviceTimeout):
            await ada.network.ask(gone, FindNode(TARGET), timeout=0.05)
        with pytest.raises(DeviceTimeout):
            await ada.network.greet(gone.addresses[0], timeout=0.05)
        with pytest.raises(PeerError):
            await ada.network.ask(Contact(gone.node_id, (Udp("2001:db8::1", 9),)), Ping())
        with pytest.raises(PeerError):
            await ada.network.ask(Contact(gone.node_id, ()), Ping())


async def test_another_node_at_the_address_is_told() -> None:
    async with peer(1) as ada, peer(2) as bob:
        elsewhere = Contact(keys_of(3).peer_id, bob.network.bound)
        bob.endpoint.node_id = elsewhere.node_id  # it takes what is for another, and signs as itself
        with pytest.raises(PeerError, match="another node"):
            await ada.network.ask(elsewhere, Ping())


async def test_the_next_address_is_tried_when_the_first_is_silent() -> None:
    async with peer(1) as ada, peer(2) as bob:
        both = Contact(bob.keys.peer_id, (Udp("127.0.0.1", 9), *bob.network.bound))
        assert await ada.network.ask(both, FindNode(TARGET)) == Nodes(())


async def test_of_a_nodes_addresses_those_alone_are_proved_where_it_answered() -> None:
    async with peer(1) as ada, peer(2) as bob, peer(3) as eve:
        told = Contact(bob.keys.peer_id, (eve.network.bound[0], bob.network.bound[0]))
        assert ada.network.proved(told).addresses == ()
        await ada.network.ask(told, Ping())
        assert ada.network.proved(told) == bob.contact


@pytest.mark.parametrize("fault", ["raises", "waits"])
async def test_a_fault_of_our_own_ends_no_node(
    fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("bitrelay.dht.udp_answers.ANSWER_TIMEOUT_S", 0.01)
    async with peer(1) as ada, peer(2) as bob:

        async def failing(asker: Contact | None, question: object) -> Pong:
            if fault == "raises":
                raise KeyError("a fault")
            await asyncio.Event().wait()
            return Pong()

        bob.network.serve(failing)  # type: ignore[arg-type]
        with pytest.raises(DeviceTimeout):
            await ada.network.ask(bob.contact, Ping(), timeout=0.1)
        assert bob.network.traffic.dropped["FAULT" if fault == "raises" else "TOO_SLOW"]
        bob.network.serve(bob.answer)
        assert await ada.network.ask(bob.contact, FindNode(TARGET)) == Nodes(())


async def test_closing_ends_what_waits() -> None:
    async with peer(1) as ada:
        waits = asyncio.ensure_future(ada.network.ask(Contact(TARGET, (Udp("127.0.0.1", 9),)), Ping()))
        await until(lambda: ada.network.traffic.sent > 0)
        await ada.network.close()
        with pytest.raises(TransportClosed):
            await waits
        with pytest.raises(TransportClosed):
            await ada.network.listen(Udp("127.0.0.1", 0))
        await ada.network.close()


async def test_where_it_cannot_listen_it_says_so() -> None:
    async with peer(1) as ada, peer(2) as bob:
        with pytest.raises(WrongAddress):
            await ada.network.listen(Udp("localhost", 0))
        with pytest.raises(WrongAddress):
            await ada.network.listen(Udp("127.0.0.1", 0))
        await bob.network.close()
    async with peer(1) as ada:
        with pytest.raises(PortBusy):
            async with peer(2, address=ada.network.bound[0]):
                pass


async def test_ipv6() -> None:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this computer has no IPv6")
    async with peer(1, address=Udp("::1", 0)) as ada, peer(2, address=Udp("::1", 0)) as bob:
        await ada.network.listen(Udp("127.0.0.1", 0))
        assert await ada.network.ask(bob.contact, FindNode(TARGET)) == Nodes(())
        assert bob.asked == [(Contact(ada.keys.peer_id, ada.network.bound[:1]), FindNode(TARGET))]


async def test_the_node_tells_the_address_at_which_most_others_see_it() -> None:
    async with peer(1, address=Udp("0.0.0.0", 0)) as ada, peer(2) as bob, peer(3) as eve:
        assert (ada.network.contact, ada.network.seen) == (Contact(ada.keys.peer_id, ()), ())
        for other in (bob, eve):
            await ada.network.ask(other.contact, Ping())
        assert ada.network.contact.addresses == (Udp("127.0.0.1", ada.network.bound[0].port),)
        assert ada.network.seen == ada.network.contact.addresses


QUESTIONS: list[Message] = [Ping(), FindNode(TARGET), FindValue(TARGET), Store(value(1, bytes(MAX_DATA)))]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: type(question).__name__)
@pytest.mark.parametrize("wants", [False, True])
async def test_to_an_address_that_is_not_proved_goes_no_more_than_three_times_what_came(
    question: Message, wants: bool
) -> None:
    eve = ByHand(3)
    try:
        async with peer(2) as bob:
            bob.answers = lambda question: Pong() if question == Ping() else KNOWN_NODES
            for cookie in (NO_COOKIE, secrets.token_bytes(8)):
                asks = eve.signer.seal(
                    question, bob.keys.peer_id, secrets.token_bytes(8), cookie, wants_record=wants, can_prove=True
                )
                got, size = await eve.exchange(asks, bob)
                assert size <= 3 * len(asks)
                assert got.message == (Pong(eve.place) if question == Ping() else Refused(Refusal.NOT_PROVEN))
                assert [asker for asker, _ in bob.asked] == [None] * len(bob.asked)
    finally:
        eve.close()


async def test_a_cookie_proves_an_address_for_20_to_40_minutes_and_no_other_node_or_place() -> None:
    now = 10.0 * PERIOD_S
    eve, bert = ByHand(3), ByHand(3)
    try:
        async with peer(2, steady=lambda: now) as bob:

            def asks(cookie: bytes) -> bytes:
                return eve.signer.seal(FindNode(TARGET), bob.keys.peer_id, secrets.token_bytes(8), cookie)

            refused, _ = await eve.exchange(asks(NO_COOKIE), bob)
            assert refused.message == Refused(Refusal.NOT_PROVEN)
            cookie = refused.head.cookie
            assert (await eve.exchange(asks(cookie), bob))[0].message == Nodes(())
            assert (await bert.exchange(asks(cookie), bob))[0].message == Refused(Refusal.NOT_PROVEN)
            now += PERIOD_S
            assert (await eve.exchange(asks(cookie), bob))[0].message == Nodes(())
            now += PERIOD_S
            assert (await eve.exchange(asks(cookie), bob))[0].message == Refused(Refusal.NOT_PROVEN)
    finally:
        eve.close()
        bert.close()


async def test_a_question_that_is_repeated_is_answered_a_few_times_and_worked_on_once() -> None:
    eve = ByHand(3)
    try:
        async with peer(2) as bob:
            asks = eve.signer.seal(Ping(), bob.keys.peer_id, b"only one", NO_COOKIE)
            for _ in range(20):
                eve.send(asks, bob)
            await until(lambda: bob.network.traffic.received == 20)
            await until(lambda: bob.network.traffic.dropped["REPEATED"] + bob.network.traffic.sent == 20)
            assert bob.network.traffic.sent <= 5
            assert len(bob.asked) == 1
    finally:
        eve.close()


@pytest.mark.parametrize("addresses", [1, 1000])
async def test_a_flood_leaves_a_known_peer_served_and_the_tables_bounded(addresses: int) -> None:
    limits = FloodLimits(
        source=Rate(20, 40), strangers=Rate(200, 200), work_source=Rate(1, 5), work=Rate(1, 5), buckets=256
    )
    now = 0.0
    async with peer(1) as ada, peer(2, limits=limits, steady=lambda: now) as bob:
        await ada.network.ask(bob.contact, FindNode(TARGET))
        signers = [Signer(keys_of(100 + number), time.time) for number in range(20)]
        answered = bob.network.traffic.sent
        for second in range(5):
            now = float(second)
            for number in range(1000):
                host = f"10.9.{number % addresses // 250}.{number % addresses % 250}"
                asks = signers[number % 20].seal(FindNode(TARGET), bob.keys.peer_id, secrets.token_bytes(8), NO_COOKIE)
                bob.network.receive(asks, Udp(host, 4000))
            assert await ada.network.ask(bob.contact, FindNode(TARGET)) == Nodes(())
        dropped = bob.network.traffic.dropped
        most = 40 + 4 * 20 if addresses == 1 else 200 + 4 * 200
        assert 5000 - dropped["TOO_MANY"] <= most
        assert bob.network.traffic.sent - answered <= most + 5
        sizes = bob.network.table_sizes
        assert sizes["strangers"] <= limits.buckets
        assert sizes["answers"] <= MOST_ANSWERS
        assert (sizes["known"], sizes["work"], sizes["paths"], sizes["proofs"]) == (1, 1, 0, 1)


async def test_a_flood_of_proofs_of_work_is_checked_at_a_measured_pace() -> None:
    limits = FloodLimits(work_source=Rate(1, 3), work=Rate(1, 3))
    async with peer(2, limits=limits, steady=lambda: 0.0) as bob:
        fakes = [ByHand(200 + number) for number in range(10)]
        try:
            for fake in fakes:
                hello = fake.signer.seal(Ping(), ANYONE, secrets.token_bytes(8), NO_COOKIE)
                cookie = (await fake.exchange(hello, bob))[0].head.cookie
                asks = fake.signer.seal(
                    FindNode(TARGET), bob.keys.peer_id, secrets.token_bytes(8), cookie, record=bytes(303)
                )
                assert (await fake.exchange(asks, bob))[0].message == Nodes(())
            assert bob.network.traffic.dropped["WORK_BAD_RECORD"] == 3
            assert bob.network.traffic.dropped["TOO_MUCH_WORK"] == 7
        finally:
            for fake in fakes:
                fake.close()


async def test_nodes_ask_one_another_at_once() -> None:
    async with peer(1) as ada, peer(2) as bob, peer(3) as eve:
        peers = (ada, bob, eve)
        asked = [
            asks.network.ask(other.contact, FindNode(secrets.token_bytes(32)))
            for asks in peers for other in peers if asks is not other for _ in range(16)
        ]  # fmt: skip
        assert await all_of(*asked) == [Nodes(())] * 96


async def test_an_answer_that_nobody_asked_for_and_garbage_are_counted() -> None:
    eve = ByHand(3)
    try:
        async with peer(2) as bob:
            eve.send(eve.signer.seal(Nodes(()), bob.keys.peer_id, secrets.token_bytes(8), NO_COOKIE), bob)
            eve.send(b"", bob)
            eve.send(bytes(2000), bob)
            own = Signer(bob.keys, time.time).seal(Ping(), bob.keys.peer_id, secrets.token_bytes(8), NO_COOKIE)
            eve.send(own, bob)
            assert peek(own).sender == bob.keys.peer_id
            await until(lambda: bob.network.traffic.received == 4)
            counted = {"UNASKED": 1, "TOO_SHORT": 1, "TOO_LONG": 1, "OWN": 1}
            assert bob.network.traffic.dropped == counted
    finally:
        eve.close()


async def test_a_node_tells_anybody_where_he_is_seen_as_a_stun_server_does() -> None:
    async with peer(1) as ada:
        findings = await find_out(ada.network.bound)
        assert findings.mapped == (findings.local,)
        for _ in range(2 * STUN_PER_S):
            ada.network.receive(b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12), findings.local)
        assert ada.network.traffic.dropped["STUN"] >= STUN_PER_S / 2


async def test_whatever_a_stranger_sends_the_node_raises_nothing_and_answers_on() -> None:
    taken = await feed(2000, seed=5)
    assert min(taken[why] for why in ("sent", "FORGED", "MALFORMED", "UNASKED", "WORK_BAD_RECORD")) > 0
