"""Gateways of a fleet over a real Mosquitto."""

import asyncio
import gc
import hashlib
import sys
import time
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import aiomqtt
import pytest

from bitrelay.errors import BadData, BitrelayError, BrokenInstallation, TransportClosed, Unreachable
from bitrelay.gateway import mqtt_exchange
from bitrelay.gateway.config import MqttConfig
from bitrelay.gateway.election import elected
from bitrelay.gateway.exchange import ExchangeEvent, GatewayDown, GatewayUp, MessageCame
from bitrelay.gateway.message import FrameMessage, Hello, MeshOffer, Notice, NoticeMessage
from bitrelay.gateway.mqtt_exchange import MqttExchange, RetryTimes
from bitrelay.gateway.mqtt_topics import Topics
from bitrelay.gateway.sealed_message import Kind, Sealer, fleet_tag
from bitrelay.transports.fair_queue import Traffic
from tests.gateway.mosquitto import WHY_NOT, CuttableWay, Mosquitto, certificate, free_port

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=f"{WHY_NOT}")

DEADLINE_S = 15.0
KEY, OTHER_KEY = bytes(range(32)), bytes(32)
A, B, C = (bytes((each,)) * 32 for each in b"abc")
Event = TypeVar("Event", GatewayUp, GatewayDown, MessageCame)


def hello(name: str, *meshes: str, downlink: bool = True) -> Hello:
    return Hello(name, tuple(MeshOffer(each, downlink=downlink) for each in meshes))


class Member:
    """A gateway of the fleet, whose events are kept."""

    def __init__(self, own: bytes, port: int, *, key: bytes = KEY, offset_s: float = 0.0, **config: object) -> None:
        self.own = own
        self.troubles: list[BitrelayError] = []
        self.events: list[ExchangeEvent] = []
        self.exchange = MqttExchange(
            own,
            MqttConfig("127.0.0.1", port, fleet_key=key, **config),  # type: ignore[arg-type]
            clock=lambda: time.time() + offset_s,
            on_trouble=self.troubles.append,
            retry=RetryTimes(0.05, 0.5),
        )

    async def start(self, says: Hello) -> "Member":
        await self.exchange.start(says)
        self._reader = asyncio.create_task(self._read())
        return self

    async def stop(self) -> None:
        await self.exchange.stop()
        await self._reader

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not holds():  # noqa: ASYNC110 (what is waited for has no event of its own)
                await asyncio.sleep(0.005)

    async def sees(self, *gateways: bytes) -> None:
        """Wait until it can reach exactly these."""
        await self.until(lambda: {view.peer_id for view in self.exchange.gateways()} == set(gateways))

    def came(self) -> list[MessageCame]:
        return [event for event in self.events if isinstance(event, MessageCame)]

    def downs(self) -> list[GatewayDown]:
        return [event for event in self.events if isinstance(event, GatewayDown)]

    async def _read(self) -> None:
        try:
            while True:
                self.events.append(await self.exchange.next_event())
        except TransportClosed:
            pass


class Fleet:
    """Members at one broker; all are stopped in the end."""

    def __init__(self, broker: Mosquitto, stack: AsyncExitStack) -> None:
        self.broker = broker
        self._stack = stack

    async def join(self, own: bytes, says: Hello, *, port: int | None = None, **more: object) -> Member:
        member = Member(own, port or self.broker.port, **more)  # type: ignore[arg-type]
        await member.start(says)
        self._stack.push_async_callback(member.stop)
        return member


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with Mosquitto(tmp_path) as broker, AsyncExitStack() as stack:
        yield Fleet(broker, stack)


def frame(number: int, target: str = "west") -> FrameMessage:
    return FrameMessage("east", target, number.to_bytes(4, "big") * 30)


def note(number: int) -> NoticeMessage:
    return NoticeMessage(Notice.INTAKE, "west", (bytes((number,)) * 16,))


async def test_gateways_find_one_another_and_talk(fleet: Fleet) -> None:
    a = await fleet.join(A, hello("a", "east"))
    b = await fleet.join(B, hello("b", "Café am Eck"))
    await a.sees(B)
    await b.sees(A)
    (view,) = a.exchange.gateways()
    assert view.hello == hello("b", "Café am Eck")
    assert view.trusted
    assert view.latency_ms is not None and 0 < view.latency_ms < 5000
    for number in range(20):
        await a.exchange.send(B, note(number), Traffic.INTERACTIVE)
    await b.exchange.send(A, frame(1, "east"), Traffic.BULK)
    await b.until(lambda: len(b.came()) == 20)
    await a.until(lambda: len(a.came()) == 1)
    assert b.came() == [MessageCame(A, note(number)) for number in range(20)]
    assert a.came() == [MessageCame(B, frame(1, "east"))]
    assert not a.troubles + b.troubles and not a.exchange.troubles()
    a.exchange.update(hello("a", "east", "north"))
    await b.until(lambda: [view.hello for view in b.exchange.gateways()] == [hello("a", "east", "north")])


async def test_a_newcomer_knows_at_once_who_is_there(fleet: Fleet) -> None:
    a = await fleet.join(A, hello("a", "east"))
    b = await fleet.join(B, hello("b", "west"))
    await a.sees(B)
    await b.stop()
    await a.sees()
    c = await fleet.join(C, hello("c", "west"))
    await c.sees(A)
    assert not c.troubles
    assert not c.exchange.counts, "what was kept of a gateway that has gone is nothing to be told"


@pytest.mark.requirement("GWY-19")
async def test_bulk_goes_to_each_gateway_of_a_mesh_in_turn_and_talk_to_the_elected_one(fleet: Fleet) -> None:
    a = await fleet.join(A, hello("a", "east"))
    b = await fleet.join(B, hello("b", "west"))
    c = await fleet.join(C, hello("c", "west"))
    deaf = await fleet.join(b"d" * 32, hello("d", "west", downlink=False))
    await a.sees(B, C, deaf.own)
    sent = 60
    for number in range(sent):
        assert await a.exchange.send_to_mesh(frame(number), b"author", Traffic.BULK) is None
    await b.until(lambda: len(b.came()) + len(c.came()) == sent)
    got = Counter(each.message.value for each in b.came() + c.came() if isinstance(each.message, FrameMessage))
    assert got == Counter(frame(number).value for number in range(sent)), "each exactly once"
    assert len(b.came()) > 10 < len(c.came()), "both have their share"

    chosen = elected(b"author", (B, C))
    member, other = (b, c) if chosen == B else (c, b)
    before = len(member.came())
    for number in range(30):
        assert await a.exchange.send_to_mesh(frame(number), b"author", Traffic.INTERACTIVE) == chosen
    await member.until(lambda: len(member.came()) == before + 30)
    assert [each.message for each in member.came()[before:]] == [frame(number) for number in range(30)]
    # Who has failed is left out, whatever the class; when all have, that is told.
    for traffic in (Traffic.INTERACTIVE, Traffic.BULK):
        assert await a.exchange.send_to_mesh(frame(99), b"author", traffic, avoid=(member.own,)) == other.own
    with pytest.raises(Unreachable):
        await a.exchange.send_to_mesh(frame(99), b"author", Traffic.BULK, avoid=(B, C))
    with pytest.raises(Unreachable):
        await a.exchange.send_to_mesh(frame(99, "nowhere"), b"author", Traffic.INTERACTIVE)
    assert not deaf.came()


async def test_a_mesh_that_takes_nothing_any_more_gets_nothing(fleet: Fleet) -> None:
    a = await fleet.join(A, hello("a", "east"))
    b = await fleet.join(B, hello("b", "west"))
    c = await fleet.join(C, hello("c", "west"))
    await a.sees(B, C)
    b.exchange.update(hello("b", "west", downlink=False))
    await a.until(lambda: not any(v.hello.meshes[0].downlink for v in a.exchange.gateways() if v.peer_id == B))
    for number in range(10):
        assert await a.exchange.send_to_mesh(frame(number), b"author", Traffic.BULK) == C
    await c.until(lambda: len(c.came()) == 10)


async def test_a_gateway_whose_connection_is_cut_is_gone_at_once(fleet: Fleet) -> None:
    a = await fleet.join(A, hello("a", "east"))
    async with CuttableWay(fleet.broker.port) as way:
        b = await fleet.join(B, hello("b", "west"), port=way.port)
        await fleet.join(C, hello("c", "west"))
        await a.sees(B, C)
        await b.sees(A, C)
        await way.cut()
        async with asyncio.timeout(5):  # its keepalive would take longer
            await a.sees(C)
    assert a.downs() == [GatewayDown(B, "the broker has lost it")]
    await b.sees()
    assert {each.reason for each in b.downs()} == {"the connection with the broker has ended"}
    assert await a.exchange.send_to_mesh(frame(1), b"author", Traffic.BULK) == C
    with pytest.raises(Unreachable):
        await a.exchange.send(B, note(1), Traffic.INTERACTIVE)
    with pytest.raises(Unreachable):
        await b.exchange.send(A, note(1), Traffic.INTERACTIVE)


async def test_a_gateway_that_stops_says_so(fleet: Fleet) -> None:
    a = await fleet.join(A, hello("a", "east"))
    b = await fleet.join(B, hello("b", "west"))
    await a.sees(B)
    await b.sees(A)
    await b.exchange.send(A, note(1), Traffic.INTERACTIVE)
    await b.stop()
    await b.stop()
    await a.sees()
    assert a.events[-2:] == [MessageCame(B, note(1)), GatewayDown(B, "it was stopped")]
    with pytest.raises(TransportClosed):
        await b.exchange.next_event()


async def test_fleets_with_different_keys_at_one_broker_do_not_hear_one_another(fleet: Fleet) -> None:
    a = await fleet.join(A, hello("a", "east"))
    b = await fleet.join(B, hello("b", "west"))
    c = await fleet.join(C, hello("c", "west"), key=OTHER_KEY)
    await a.sees(B)
    await c.until(lambda: len(c.troubles) > 0)
    await b.until(lambda: len(b.troubles) > 0)
    # Nor do they take frames from one another, which a subscription that both share would do.
    await fleet.join(b"d" * 32, hello("d", "west"))
    await a.sees(B, b"d" * 32)
    for number in range(20):
        await a.exchange.send_to_mesh(frame(number), b"author", Traffic.BULK)
    await c.until(lambda: c.exchange.counts["forged"] >= 20)
    await a.exchange.send(B, note(1), Traffic.BACKGROUND)
    await b.until(lambda: MessageCame(A, note(1)) in b.came())
    assert not c.came()
    assert not c.exchange.gateways()
    assert [each.what for each in c.troubles] == ["somebody at this broker uses our topic with another fleet key"]


async def test_what_is_forged_repeated_or_old_is_dropped_and_counted(fleet: Fleet) -> None:
    a = await fleet.join(A, hello("a", "east"))
    b = await fleet.join(B, hello("b", "west"))
    await b.sees(A)
    await a.sees(B)
    topics = Topics("bitrelay", fleet_tag(KEY))
    heard: list[aiomqtt.Message] = []
    async with aiomqtt.Client("127.0.0.1", fleet.broker.port, protocol=aiomqtt.ProtocolVersion.V5) as spy:
        await spy.subscribe("bitrelay/1/gateway/+/inbox")
        await a.exchange.send(B, note(1), Traffic.INTERACTIVE)
        heard.append(await anext(aiter(spy.messages)))
        genuine = heard[0].payload
        assert isinstance(genuine, bytes)
        inbox = topics.inbox(B)
        late = Sealer(C, KEY, lambda: time.time() - 61)
        unknown = Sealer(C, KEY, time.time)
        insider = Sealer(A, KEY, lambda: time.time() + 5)
        for each in (late, unknown, insider):
            each.begin()
        for topic, payload in (
            (inbox, genuine),
            (topics.frames("west"), genuine),
            (inbox, genuine[:-1] + b"x"),
            (inbox, b"\0" * 30),
            (inbox, b"\0" * 18_000),
            (inbox, late.seal(inbox, Kind.MESSAGE, b"x")),
            (inbox, unknown.seal(inbox, Kind.MESSAGE, b"not a message")),
            (inbox, insider.seal(inbox, Kind.MESSAGE, b"not a message")),
            (topics.hello(C), insider.seal(topics.hello(C), Kind.HELLO, b"for somebody else")),
            (topics.hello(C), b""),
        ):
            await spy.publish(topic, payload, qos=1)
    await b.until(lambda: MessageCame(A, note(1)) in b.came())
    expected = {"replayed": 1, "forged": 2, "size": 2, "stale": 1, "malformed": 3}
    await b.until(lambda: b.exchange.counts == expected)
    assert b.came() == [MessageCame(A, note(1))]
    assert any("clocks" in each.what for each in b.troubles)


async def test_a_broker_that_comes_back_is_joined_again(fleet: Fleet) -> None:
    a = await fleet.join(A, hello("a", "east"))
    b = await fleet.join(B, hello("b", "west"))
    await a.sees(B)
    await b.sees(A)
    await fleet.broker.kill()
    await a.sees()
    await b.sees()
    assert await fleet.broker.start()
    await a.sees(B)
    await b.sees(A)
    for number, traffic in enumerate((Traffic.BULK, Traffic.INTERACTIVE)):
        assert await a.exchange.send_to_mesh(frame(number), b"author", traffic) == B
    await b.until(lambda: len(b.came()) == 2)
    assert 1 <= len(a.troubles) <= 4, "what is wrong is told once"


async def test_a_broker_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    member = Member(A, free_port())
    await member.start(hello("a", "east"))
    await member.until(lambda: len(member.troubles) > 0)
    assert "cannot be reached" in member.troubles[0].what
    ((where, why),) = member.exchange.troubles().items()
    assert where.startswith("127.0.0.1:") and "the broker cannot be reached" in why
    with pytest.raises(Unreachable):
        await member.exchange.send_to_mesh(frame(1), b"author", Traffic.BULK)
    await member.stop()


async def test_the_right_password_and_access_list_are_enough_and_a_wrong_password_is_told(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    # As mosquitto_passwd writes it: PBKDF2 with SHA-512.
    salt, turns = b"twelve bytes", 101
    digest = hashlib.pbkdf2_hmac("sha512", b"right", salt, turns)
    passwords.write_text(f"west:$7${turns}${b64encode(salt).decode()}${b64encode(digest).decode()}\n")
    rules = tmp_path / "acl"
    rules.write_text("user west\ntopic readwrite bitrelay/1/#\n")
    settings = ("allow_anonymous false", f"password_file {passwords}", f"acl_file {rules}")
    async with Mosquitto(tmp_path, settings) as broker:
        right = await Member(A, broker.port, username="west", password="right").start(hello("a", "east"))
        others = [
            await Member(own, broker.port, username="west", password="right").start(hello("x", "west"))
            for own in (C, b"d" * 32)
        ]
        await right.sees(*(each.own for each in others))
        for number in range(10):
            await right.exchange.send_to_mesh(frame(number), b"author", Traffic.BULK)
        await others[0].until(lambda: sum(len(each.came()) for each in others) == 10)
        wrong = await Member(B, broker.port, username="west", password="wrong").start(hello("b", "west"))
        await wrong.until(lambda: len(wrong.troubles) > 0)
        assert wrong.troubles[0].what == "the broker refuses this user name or password"
        assert "password" not in repr(wrong.exchange._config)
        assert not right.troubles
        for member in (wrong, right, *others):
            await member.stop()


async def test_an_access_list_that_keeps_us_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_exchange, "ECHO_S", 0.1)
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite elsewhere/#\n")
    async with Mosquitto(tmp_path, ("allow_anonymous true", f"acl_file {rules}")) as broker:
        member = await Member(A, broker.port).start(hello("a", "east"))
        await member.until(lambda: len(member.troubles) > 0)
        assert member.troubles[0].what == "the broker does not pass on what we say"
        await member.stop()


# paho leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_over_tls_the_broker_s_certificate_is_checked(tmp_path: Path) -> None:
    made, key = certificate(tmp_path)
    async with Mosquitto(tmp_path, ("allow_anonymous true", f"certfile {made}", f"keyfile {key}")) as broker:
        a = await Member(A, broker.port, tls=True, ca_file=made).start(hello("a", "east"))
        b = await Member(B, broker.port, tls=True, ca_file=made).start(hello("b", "west"))
        other = await Member(C, broker.port, tls=True).start(hello("c", "west"))
        await a.sees(B)
        await other.until(lambda: len(other.troubles) > 0)
        assert "no secure connection" in other.troubles[0].what
        assert not a.troubles + b.troubles
        for member in (a, b, other):
            await member.stop()
    gc.collect()


async def test_two_gateways_with_one_identity_are_told(fleet: Fleet) -> None:
    a = await fleet.join(A, hello("a", "east"))
    await a.until(lambda: a.exchange.is_up)
    await fleet.join(A, hello("twin", "east"))
    await a.until(lambda: "another gateway with our identity has connected" in [each.what for each in a.troubles])


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"key": b"short"}, "5 bytes instead of 32"),
        ({"key": bytes(65)}, "65 bytes instead of 32"),
        ({"topic": "a/#"}, "cannot begin a topic"),
        ({"tls": True, "ca_file": Path("no/such/file")}, "cannot be read"),
    ],
)
async def test_what_trying_again_does_not_mend_is_raised(config: dict[str, object], words: str) -> None:
    member = Member(A, 1, **config)  # type: ignore[arg-type]
    with pytest.raises(BadData, match=words):
        await member.exchange.start(hello("a", "east"))
    await member.exchange.stop()


async def test_a_hello_that_is_too_long_is_refused() -> None:
    meshes = tuple(MeshOffer(f"mesh {n}", subscribe=("x" * 255,) * 32) for n in range(16))
    with pytest.raises(BadData):
        await Member(A, 1).exchange.start(Hello("a", meshes))


async def test_without_aiomqtt_it_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiomqtt", None)
    with pytest.raises(BrokenInstallation, match=r"bitrelay\[mqtt\]"):
        await Member(A, 1).exchange.start(hello("a", "east"))
