"""What an operator is told when the broker does not do as it should."""

import ssl
from collections import Counter
from typing import Any

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from bitrelay.gateway.config import MqttConfig
from bitrelay.gateway.mqtt_broker import MOST_ARRIVED, Arrivals, trouble_of

CONFIG = MqttConfig("broker.example", password="secret")


def refused(code: int) -> Exception:
    return aiomqtt.client.MqttConnectError(_reason(PacketTypes.CONNACK, code))


def ended(code: int) -> Exception:
    """As aiomqtt tells of a connection that there was."""
    error = aiomqtt.MqttError("Disconnected during message iteration")
    error.__cause__ = aiomqtt.MqttCodeError(_reason(PacketTypes.DISCONNECT, code), "Unexpected disconnection")
    return error


def failed(cause: Exception) -> Exception:
    """As aiomqtt tells of a connection that did not come about."""
    error = aiomqtt.MqttError(str(cause))
    error.__context__ = cause
    return error


def _reason(packet: int, code: int) -> Any:
    return ReasonCode(packet, identifier=code)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("error", "what", "slow"),
    [
        (refused(0x86), "the broker refuses this user name or password", True),
        (refused(0x87), "the broker refuses this user name or password", True),
        (refused(0x84), "the broker does not speak MQTT 5", True),
        (refused(0x88), "the broker refuses us: Server unavailable", True),
        (ended(0x80), "the connection with the broker has ended: it was lost", False),
        (ended(0x8D), "the connection with the broker has ended: keep alive timeout", False),
        (ended(0x8E), "another gateway with our identity has connected", True),
        (failed(ConnectionRefusedError(111, "refused")), "the broker cannot be reached: refused", False),
        (failed(TimeoutError()), "no connection with the broker: it does not answer", False),
        (failed(ssl.SSLError(1, "no TLS")), "no secure connection with the broker: no TLS", False),
        (failed(ssl.SSLCertVerificationError(1, "expired")), "no secure connection with the broker: expired", True),
        (ValueError("Invalid host."), "no connection with the broker: Invalid host.", False),
        (aiomqtt.MqttCodeError(4), "no connection with the broker: The client is not currently connected.", False),
    ],
)
def test_what_goes_wrong_is_told_in_words(error: Exception, what: str, slow: bool) -> None:
    trouble, is_slow = trouble_of(error, CONFIG)
    assert (trouble.what, trouble.device, is_slow) == (what, "broker.example:1883", slow)
    assert trouble.hint
    assert "secret" not in str(trouble)


def test_what_comes_too_fast_is_dropped_and_counted() -> None:
    dropped: Counter[str] = Counter()
    arrivals = Arrivals(dropped)
    message = aiomqtt.Message("a", b"", 0, False, 0, None)
    for _ in range(MOST_ARRIVED + 3):
        arrivals.put_nowait(message)
    assert arrivals.qsize() == MOST_ARRIVED
    assert dropped == {"arrived too fast": 3}
