"""Other gateways of a fleet, reached over an MQTT 5 broker (docs/mqtt.md).

Who has the fleet's key belongs to it and is trusted; the broker carries sealed messages (`sealed_message`) and sees who
talks to whom and how much. An author's frames go to the gateway that is elected for it, to its inbox, so that they keep
their order. What needs none, the bulk, goes to all gateways of a mesh as a shared subscription, of which the broker
gives each message to one.
"""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..errors import BadData, BitrelayError, Unreachable
from ..transports.fair_queue import Traffic
from ..watched_task import watched
from .config import MqttConfig
from .election import elected
from .event_backlog import EventBacklog
from .exchange import Exchange, ExchangeEvent, GatewayDown, GatewayUp, GatewayView, MessageCame
from .fleet_roster import FleetRoster
from .message import MOST_BYTES, FrameMessage, Hello, Message, decode, encode
from .mqtt_broker import (
    ACCESS,
    Arrivals,
    connected,
    demand_aiomqtt,
    open_client,
    publish_kept,
    subscribe,
    tls_context,
    trouble_of,
    twin,
)
from .mqtt_outbox import Outbox
from .mqtt_topics import Place, PlaceKind, Topics, is_prefix
from .sealed_message import KEY_SIZE, Kind, Opened, Opener, Refusal, Refused, Sealer, fleet_tag

if TYPE_CHECKING:
    import ssl

    import aiomqtt

_log = logging.getLogger(__name__)

HELLO_S: Final = 10.0
"""How often we say that we are there (row GWY-20)."""
_SWEEP_S: Final = 1.0
"""How often silence is looked for, and how often at most a change is told."""
STEADY_S: Final = 10.0
"""A connection that lasted so long was a good one: pauses begin anew."""
ECHO_S: Final = 5.0
"""Within this our own hello comes back from the broker, if it lets us write and read."""
_STOP_S: Final = 1.0
_MOST_TOLD: Final = 64
_RTT_BYTES: Final = 2
_MOST_RTT: Final = 0xFFFF
_STOPPED: Final = b"stopped"


@dataclass(frozen=True, slots=True)
class RetryTimes:
    """Seconds until a broker is tried again: doubled from first_s to most_s; most_s at once where haste is useless."""

    first_s: float = 1.0
    most_s: float = 60.0


class MqttExchange(Exchange):
    """own: our PeerId. clock: Unix seconds. on_trouble: called with what does not work and is tried again, once each.

    counts: messages that were not taken or got lost, by reason. Use it in one event loop.
    """

    def __init__(
        self,
        own: bytes,
        config: MqttConfig,
        *,
        clock: Callable[[], float] = time.time,
        on_trouble: Callable[[BitrelayError], None] = lambda error: None,
        retry: RetryTimes = RetryTimes(),
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._own = own
        self._config = config
        self._clock = clock
        self._on_trouble = on_trouble
        self._retry = retry
        self._device = f"{config.host}:{config.port}"
        self._roster = FleetRoster()
        self._events = EventBacklog()
        self._said = asyncio.Event()
        self._hello: Hello | None = None
        self._hello_bytes = b""
        self._subscribed: set[str] = set()
        self._client: aiomqtt.Client | None = None
        self._outbox: Outbox | None = None
        self._task: asyncio.Task[None] | None = None
        self._told: BitrelayError | None = None
        self._told_of: set[bytes] = set()
        self._has_spoken = False
        """Whether the connection has come so far that others know of us."""
        self._has_heard_itself = False
        self._stopped = False

    @property
    def is_up(self) -> bool:
        """Whether there is a connection with the broker, and the fleet knows of us."""
        return self._client is not None and self._has_spoken

    async def start(self, hello: Hello) -> None:
        """Raises BrokenInstallation without aiomqtt; BadData for a key, topic or CA file that is none."""
        demand_aiomqtt()
        if len(self._config.fleet_key) != KEY_SIZE:
            raise BadData(
                f"the fleet's key has {len(self._config.fleet_key)} bytes instead of {KEY_SIZE}",
                hint="Make one with bitrelay gateway fleet-key FILE, and copy it to all gateways of the fleet",
            )
        if not is_prefix(self._config.topic):
            raise BadData(
                f"{self._config.topic!r} cannot begin a topic",
                hint='topic in [mqtt] has 1 to 128 bytes, none of "+", "#" and "$", and no slash at its ends',
            )
        tls = tls_context(self._config)
        self._topics = Topics(self._config.topic, fleet_tag(self._config.fleet_key))
        self._sealer = Sealer(self._own, self._config.fleet_key, self._clock)
        self._opener = Opener(self._own, self._config.fleet_key, self._clock, MOST_BYTES)
        self.update(hello)
        self._task = watched(self._run(tls), "The exchange with the broker has failed")

    def update(self, hello: Hello) -> None:
        """Raises BadData for a hello that is too long."""
        self._hello, self._hello_bytes = hello, _encoded(hello)
        self._said.set()

    def gateways(self) -> list[GatewayView]:
        return self._roster.views(self._now())

    def troubles(self) -> dict[str, str]:
        """Why there is no connection with the broker, by its address."""
        if self._told is None:
            return {}
        return {self._device: f"{self._told.what}. {self._told.hint}" if self._told.hint else self._told.what}

    async def send(self, gateway: bytes, message: Message, traffic: Traffic) -> None:
        """Raises Unreachable, LimitReached; BadData for what the format cannot carry."""
        if self._roster.view(gateway, self._now()) is None:
            raise Unreachable("this gateway cannot be reached", device=gateway.hex()[:16])
        await self._put(self._topics.inbox(gateway), message, traffic)

    async def send_to_mesh(
        self, message: FrameMessage, author: bytes, traffic: Traffic, avoid: Collection[bytes] = ()
    ) -> bytes | None:
        takers = [each for each in self._roster.takers(message.target) if each not in avoid]
        chosen = elected(author, takers)
        if chosen is None:
            raise Unreachable("no gateway that can be reached takes frames for this mesh", device=message.target)
        if traffic is Traffic.BULK and len(takers) > 1 and not avoid:
            await self._put(self._topics.frames(message.target), message, traffic)
            return None
        await self._put(self._topics.inbox(chosen), message, traffic)
        return chosen

    async def next_event(self) -> ExchangeEvent:
        return await self._events.get()

    async def stop(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        if self._client is not None and self._outbox is not None:
            await self._say_goodbye(self._client, self._outbox)
        if self._task is not None:
            await _end((self._task,))
        self._events.close()

    async def _put(self, topic: str, message: Message, traffic: Traffic) -> None:
        if self._outbox is None:
            raise Unreachable("there is no connection with the broker", device=self._device, hint="It is tried again")
        await self._outbox.send(topic, _encoded(message), traffic)

    async def _say_goodbye(self, client: "aiomqtt.Client", outbox: Outbox) -> None:
        from aiomqtt import MqttError

        await outbox.flush(_STOP_S)
        topic = self._topics.hello(self._own)
        # Who is not told finds out: the broker publishes our will unless we disconnect properly.
        with suppress(TimeoutError, MqttError):
            async with asyncio.timeout(_STOP_S):
                await publish_kept(client, topic, self._sealer.seal(topic, Kind.GONE, _STOPPED))

    # --- the connection ---

    async def _run(self, tls: "ssl.SSLContext | None") -> None:
        from aiomqtt import MqttError

        wait_s = self._retry.first_s
        while True:
            began = self._now()
            self._has_spoken = slow = False
            try:
                await self._one_connection(tls)
            except Unreachable as error:
                slow = True
                self._tell(error)
            except (MqttError, OSError, ValueError) as error:  # ValueError: a host name that cannot be one
                trouble, slow = trouble_of(error, self._config)
                self._tell(trouble)
            if self._now() - began >= STEADY_S:
                wait_s = self._retry.first_s
            await asyncio.sleep((self._retry.most_s if slow else wait_s) * random.uniform(0.5, 1.0))
            wait_s = min(2 * wait_s, self._retry.most_s)

    async def _one_connection(self, tls: "ssl.SSLContext | None") -> None:
        # Ends by raising only.
        self._sealer.begin()
        self._has_heard_itself = False
        topic = self._topics.hello(self._own)
        will = (topic, self._sealer.seal(topic, Kind.GONE, b""))
        arrivals = Arrivals(self.counts)
        client = open_client(self._config, tls, f"bitrelay-{self._own.hex()[:32]}", will, arrivals)
        async with connected(client):
            self._subscribed.clear()
            began = self._now()
            await subscribe(client, self._topics.inbox(self._own), 1, device=self._device)
            self._answered_in(self._now() - began)
            await subscribe(client, self._topics.hellos, 1, device=self._device)
            self._client = client
            self._outbox = outbox = Outbox(lambda topic, body: self._publish(client, topic, body), self.counts)
            loop = asyncio.get_running_loop()
            tasks = [loop.create_task(work) for work in (self._read(client, arrivals), self._speak(client))]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                self._client = self._outbox = None
                await outbox.close()
                await _end(tasks)
                self._down(self._roster.cut_off(self._now()), "the connection with the broker has ended")

    async def _publish(self, client: "aiomqtt.Client", topic: str, body: bytes) -> bool:
        from aiomqtt import MqttError

        try:
            await client.publish(topic, self._sealer.seal(topic, Kind.MESSAGE, body), qos=1)
        except MqttError as error:
            # Receipts tell whoever sent it that it did not arrive; why, the reading end of the connection tells.
            _log.info("A message did not reach the broker: %s", error)
            return False
        return True

    # --- what we say ---

    async def _speak(self, client: "aiomqtt.Client") -> None:
        while True:
            self._said.clear()
            await self._say_hello(client)
            self._has_spoken, self._told = True, None
            said_at = self._now()
            while self._now() < said_at + HELLO_S:
                await asyncio.sleep(_SWEEP_S)
                self._down(self._roster.silent(self._now()), "it says nothing any more")
                if not self._has_heard_itself and self._now() > said_at + ECHO_S:
                    # Mosquitto takes what its access list forbids, and passes it on to nobody.
                    self._tell_once(self._own, "the broker does not pass on what we say", ACCESS)
                if self._said.is_set():
                    break

    async def _say_hello(self, client: "aiomqtt.Client") -> None:
        hello = self._hello
        assert hello is not None
        wanted = {self._topics.shared_frames(mesh.name) for mesh in hello.meshes if mesh.downlink}
        # Whoever reads the hello may send at once.
        for topic in sorted(wanted - self._subscribed):
            await subscribe(client, topic, 1, device=self._device)
            self._subscribed.add(topic)
        topic = self._topics.hello(self._own)
        rtt = min(round(self._roster.broker_ms or 0.0), _MOST_RTT).to_bytes(_RTT_BYTES, "big")
        began = self._now()
        await publish_kept(client, topic, self._sealer.seal(topic, Kind.HELLO, rtt + self._hello_bytes))
        self._answered_in(self._now() - began)
        for topic in sorted(self._subscribed - wanted):
            await client.unsubscribe(topic)
            self._subscribed.discard(topic)

    def _answered_in(self, seconds: float) -> None:
        old, new = self._roster.broker_ms, seconds * 1000
        self._roster.broker_ms = new if old is None else 0.7 * old + 0.3 * new

    # --- what we hear ---

    async def _read(self, client: "aiomqtt.Client", arrivals: Arrivals) -> None:
        async for first in client.messages:
            self._hear(first)
            # aiomqtt makes a task for each message that is waited for: what is there already is taken without.
            while not arrivals.empty():
                await self._events.room()
                self._hear(arrivals.get_nowait())
            await self._events.room()

    def _hear(self, message: "aiomqtt.Message") -> None:
        payload = message.payload
        if not payload or not isinstance(payload, bytes):
            return  # somebody has cleared what was kept
        topic = message.topic.value
        place = self._topics.read(topic)
        if place is None:
            self.counts["strange topic"] += 1
            return
        opened = self._opener.open(topic, payload)
        if isinstance(opened, Refused):
            if opened.session is not None and opened.why is Refusal.OWN:
                if not self._sealer.is_ours(opened.session):
                    raise twin(self._config)
                self._has_heard_itself = True
                return
            self._refused(opened, message.retain)
        elif not self._take(place, opened):
            self.counts["malformed"] += 1

    def _refused(self, refused: Refused, retained: bool) -> None:
        if retained and refused.why in (Refusal.STALE, Refusal.OLD_SESSION):
            return  # what the broker has kept of a gateway that has gone
        self.counts[refused.why] += 1
        if refused.why is Refusal.FORGED:
            self._tell_once(
                b"",
                "somebody at this broker uses our topic with another fleet key",
                "Give each fleet its own topic in [mqtt], and all gateways of a fleet the same key",
            )
        elif refused.why is Refusal.STALE and refused.sender is not None:
            self._tell_once(
                refused.sender,
                f"the clocks of gateway {refused.sender.hex()[:16]} and of this computer are "
                f"{abs(refused.late_s):.0f} s apart",
                "Set both by NTP: what is more than 60 s off is not taken",
            )

    def _take(self, place: Place, opened: Opened) -> bool:
        # False: it is not what belongs there.
        sender, now = opened.sender, self._now()
        if place.kind is PlaceKind.HELLO:
            if place.gateway != sender or opened.kind is Kind.MESSAGE:
                return False
            if opened.kind is Kind.GONE:
                reason = "it was stopped" if opened.body == _STOPPED else "the broker has lost it"
                self._down([sender] if self._roster.gone(sender, now) else [], reason)
                return True
            return self._take_hello(sender, opened.body, now)
        message = decode(opened.body)
        if opened.kind is not Kind.MESSAGE or message is None or isinstance(message, Hello):
            return False
        if place.kind is PlaceKind.FRAMES and not (isinstance(message, FrameMessage) and message.target == place.mesh):
            return False
        if self._roster.heard(sender, now):
            self._events.put(MessageCame(sender, message))
        else:
            self.counts["unknown gateway"] += 1
        return True

    def _take_hello(self, sender: bytes, body: bytes, now: float) -> bool:
        hello = decode(body[_RTT_BYTES:])
        if not isinstance(hello, Hello):
            return False
        if self._roster.said(sender, hello, int.from_bytes(body[:_RTT_BYTES], "big"), now):
            view = self._roster.view(sender, now)
            assert view is not None
            self._events.put(GatewayUp(view))
        else:
            self.counts["too many gateways"] += 1
        return True

    def _down(self, gateways: Iterable[bytes], reason: str) -> None:
        for gateway in gateways:
            self._events.put(GatewayDown(gateway, reason))

    # --- what goes wrong ---

    def _tell(self, trouble: BitrelayError) -> None:
        # Once, until there is a connection again or something else is wrong.
        if str(trouble) != str(self._told):
            self._told = trouble
            self._on_trouble(trouble)

    def _tell_once(self, subject: bytes, what: str, hint: str) -> None:
        if subject not in self._told_of and len(self._told_of) < _MOST_TOLD:
            self._told_of.add(subject)
            self._on_trouble(Unreachable(what, device=self._device, hint=hint))

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _encoded(message: Message) -> bytes:
    try:
        return encode(message)
    except ValueError as error:
        raise BadData(f"the message cannot be written: {error}") from error


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    # Up to CPython 3.11 asyncio.wait_for, which aiomqtt uses, forgets a cancellation that comes with its result.
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=_STOP_S)
        for task in done:
            if not task.cancelled():
                task.exception()  # so that asyncio does not miss it: the first one was told, it ends the others
