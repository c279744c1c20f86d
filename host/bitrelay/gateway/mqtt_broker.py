"""One connection with an MQTT 5 broker, by `aiomqtt`, which is an extra: pip install 'bitrelay[mqtt]'."""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, cast

from ..errors import BadData, BrokenInstallation, Unreachable
from .config import MqttConfig

if TYPE_CHECKING:
    import aiomqtt

KEEPALIVE_S: Final = 5
"""After half as long again the broker tells the others that we are gone."""
ANSWER_S: Final = 5.0
KEPT_S: Final = 60
"""For how long the broker keeps a hello or a will for newcomers."""
MOST_PACKET: Final = 20 * 1024
MOST_ARRIVED: Final = 1024
"""Messages that wait to be opened; the next ones are dropped."""
MOST_UNACKNOWLEDGED: Final = 20
"""What Mosquitto grants unless it is told otherwise; it hangs up on who takes more."""
ACCESS: Final = "Its access list must let this user read and write everything below the topic in [mqtt]"

_BAD_LOGIN: Final = (0x86, 0x87)
_NO_MQTT_5: Final = (0x01, 0x84)
_UNSPECIFIED: Final = 0x80
_TAKEN_OVER: Final = 0x8E
_REFUSED_FROM: Final = 0x80

_leaving: set[asyncio.Task[None]] = set()
"""Of connections that nobody waits for any more; asyncio itself does not hold them."""


class Arrivals(asyncio.Queue["aiomqtt.Message"]):
    """What came and was not read yet. dropped: counts what there was no room for."""

    def __init__(self, dropped: Counter[str]) -> None:
        super().__init__(MOST_ARRIVED)
        self._dropped = dropped

    def put_nowait(self, item: "aiomqtt.Message") -> None:
        if self.full():
            self._dropped["arrived too fast"] += 1
        else:
            super().put_nowait(item)


def demand_aiomqtt() -> None:
    """Raises BrokenInstallation without it."""
    try:
        import aiomqtt  # noqa: F401
    except ImportError as error:
        raise BrokenInstallation(
            'a gateway with engine = "mqtt" needs aiomqtt, which is not installed',
            hint="Install it with pip install 'bitrelay[mqtt]'",
        ) from error


def tls_context(config: MqttConfig) -> ssl.SSLContext | None:
    """What the broker's certificate is checked with; None without TLS. Raises BadData for a CA file that is none."""
    if not config.tls:
        return None
    try:
        return ssl.create_default_context(cafile=None if config.ca_file is None else str(config.ca_file))
    except OSError as error:  # ssl.SSLError is one
        raise BadData(
            f"the broker's CA certificate cannot be read: {error.strerror or error}",
            device=str(config.ca_file),
            hint="ca_file in [mqtt] names a file of certificates in PEM format",
        ) from error


def open_client(
    config: MqttConfig,
    tls: ssl.SSLContext | None,
    identifier: str,
    will: tuple[str, bytes],
    arrivals: Arrivals,
) -> "aiomqtt.Client":
    """A client that is not connected yet. will: topic and payload that the broker publishes when we are lost."""
    import aiomqtt
    from paho.mqtt.packettypes import PacketTypes

    topic, payload = will
    kept = _properties(PacketTypes.WILLMESSAGE, MessageExpiryInterval=KEPT_S)
    client = aiomqtt.Client(
        config.host,
        config.port,
        username=config.username,
        password=config.password,
        identifier=identifier,
        # It calls this for the queue it is to use; the type it names for that is narrower than it needs.
        queue_type=cast("Any", lambda maxsize: arrivals),
        protocol=aiomqtt.ProtocolVersion.V5,
        will=aiomqtt.Will(topic, payload, qos=1, retain=True, properties=kept),
        timeout=ANSWER_S,
        keepalive=KEEPALIVE_S,
        max_inflight_messages=MOST_UNACKNOWLEDGED,
        properties=_properties(PacketTypes.CONNECT, MaximumPacketSize=MOST_PACKET),
        tls_context=tls,
        # A message of talk does not wait for the acknowledgement of the one before.
        socket_options=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
    )
    client.pending_calls_threshold = 2 * MOST_UNACKNOWLEDGED
    return client


@asynccontextmanager
async def connected(client: "aiomqtt.Client") -> AsyncIterator[None]:
    """Connected inside. Raises what aiomqtt raises."""
    entering = asyncio.create_task(client.__aenter__())
    try:
        # Cancelled while it connects, aiomqtt leaves a socket behind whose end it does not bear.
        await asyncio.shield(entering)
    except asyncio.CancelledError:
        leaving = asyncio.create_task(_leave_when_connected(client, entering))
        _leaving.add(leaving)
        leaving.add_done_callback(_leaving.discard)
        raise
    try:
        yield
    finally:
        await _leave(client)


async def _leave_when_connected(client: "aiomqtt.Client", entering: "asyncio.Task[aiomqtt.Client]") -> None:
    # Within the two deadlines of connecting.
    from aiomqtt import MqttError

    with suppress(MqttError, OSError):
        await entering
        await _leave(client)


async def _leave(client: "aiomqtt.Client") -> None:
    from aiomqtt import MqttError

    with suppress(MqttError):
        await client.__aexit__(None, None, None)
    # After what cannot be read, as no broker sends it, the socket is left open, and the same is read for ever.
    paho = cast("Any", client)._client
    if paho.socket() is not None:
        paho._sock_close()
    # After what nobody wants to read any more comes how it ended, which asyncio complains of unless it is read.
    with suppress(MqttError):
        async for _ in client.messages:
            pass


async def subscribe(client: "aiomqtt.Client", topic: str, qos: int, *, device: str) -> None:
    """Raises Unreachable if the broker does not let us, and what aiomqtt raises if it does not answer."""
    granted = await client.subscribe(topic, qos=qos)
    code = _code(granted[0]) if granted else _REFUSED_FROM
    if code is None or code >= _REFUSED_FROM:
        raise Unreachable(
            f"the broker does not let us read {topic!r}: {granted[0] if granted else 'it says nothing'}",
            device=device,
            hint=ACCESS,
        )


async def publish_kept(client: "aiomqtt.Client", topic: str, payload: bytes) -> None:
    """Publish what the broker keeps for newcomers, and wait until it has it. Raises what aiomqtt raises."""
    from paho.mqtt.packettypes import PacketTypes

    kept = _properties(PacketTypes.PUBLISH, MessageExpiryInterval=KEPT_S)
    await client.publish(topic, payload, qos=1, retain=True, properties=kept)


def trouble_of(error: Exception, config: MqttConfig) -> tuple[Unreachable, bool]:
    """What an error of aiomqtt's means in words, and whether trying again soon is of no use."""
    device = f"{config.host}:{config.port}"
    # What ended a connection that there was, aiomqtt tells as the cause of its error.
    ended = error.__cause__
    code = _code(getattr(ended or error, "rc", None))
    cause = error.__context__
    if code in _BAD_LOGIN:
        hint = "Check username and password_file in [mqtt], and the broker's password file"
        return Unreachable("the broker refuses this user name or password", device=device, hint=hint), True
    if code in _NO_MQTT_5:
        return Unreachable("the broker does not speak MQTT 5", device=device, hint="Mosquitto does from 1.6 on"), True
    if code == _TAKEN_OVER:
        return twin(config), True
    if isinstance(cause, ssl.SSLError) or (config.tls and isinstance(cause, ConnectionResetError)):
        hint = "Check host, port, tls and ca_file in [mqtt]; the certificate must be valid for this host name"
        reason = getattr(cause, "verify_message", "") or cause.strerror or str(cause)
        is_certificate = isinstance(cause, ssl.SSLCertVerificationError)
        return Unreachable(f"no secure connection with the broker: {reason}", device=device, hint=hint), is_certificate
    if ended is not None:
        reason = "it was lost" if code in (None, _UNSPECIFIED) else _words(ended).lower()
        what = f"the connection with the broker has ended: {reason}"
        return Unreachable(what, device=device, hint="It is tried again"), False
    if isinstance(cause, OSError) and not isinstance(cause, TimeoutError):
        reason = cause.strerror or str(cause)
        hint = "Is the broker running, and are host and port in [mqtt] right? It is tried again"
        return Unreachable(f"the broker cannot be reached: {reason}", device=device, hint=hint), False
    if code is not None and code >= _REFUSED_FROM:
        return Unreachable(f"the broker refuses us: {_words(error)}", device=device, hint="Its log says more"), True
    hint = "A broker that wants TLS does not answer without: see tls in [mqtt]. It is tried again"
    reason = "it does not answer" if isinstance(cause, TimeoutError) else _words(error)
    return Unreachable(f"no connection with the broker: {reason}", device=device, hint=hint), False


def twin(config: MqttConfig) -> Unreachable:
    """Somebody else is connected as us: the broker lets in one of two, the one that came last."""
    return Unreachable(
        "another gateway with our identity has connected",
        device=f"{config.host}:{config.port}",
        hint="Give each gateway a state folder of its own; a copied one has a copied identity",
    )


def _properties(packet: int, **values: int) -> Any:
    from paho.mqtt.properties import Properties

    made = cast("Any", Properties)(packet)
    for name, value in values.items():
        setattr(made, name, value)
    return made


def _words(error: BaseException) -> str:
    # aiomqtt puts a number in brackets before them.
    return str(error).split("] ", 1)[-1]


def _code(reason: object) -> int | None:
    # aiomqtt has numbers, and paho's objects that have one.
    value = getattr(reason, "value", reason)
    return value if isinstance(value, int) else None
