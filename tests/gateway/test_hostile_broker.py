"""A broker that sends what no broker sends costs no socket and no time, and is not tried again and again at once."""

import asyncio
import struct

import pytest

from bitrelay.gateway.config import MqttConfig
from bitrelay.gateway.message import Hello
from bitrelay.gateway.mqtt_exchange import MqttExchange, RetryTimes

KEY = b"k" * 32


def published(topic: bytes) -> bytes:
    body = struct.pack(">H", len(topic)) + topic + b"\0x"
    return bytes((0x30, len(body))) + body


class HostileBroker:
    """Lets everybody in, and answers what is published with `sends`. came: who connected; there: who still is."""

    def __init__(self, sends: bytes) -> None:
        self.came = 0
        self.there = 0
        self._sends = sends

    async def __aenter__(self) -> "HostileBroker":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        self.there += 1
        try:
            while True:
                kind = (await reader.readexactly(1))[0] >> 4
                size = shift = 0
                while (digit := (await reader.readexactly(1))[0]) & 0x80:
                    size, shift = size | (digit & 0x7F) << shift, shift + 7
                body = await reader.readexactly(size | digit << shift)
                if kind == 1:
                    writer.write(b"\x20\3\0\0\0")
                elif kind == 8:
                    writer.write(b"\x90\4" + body[:2] + b"\0\1")
                elif kind == 3:
                    at = 2 + int.from_bytes(body[:2], "big")
                    writer.write(b"\x40\4" + body[at : at + 2] + b"\0\0" + self._sends)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.there -= 1
            writer.close()


@pytest.mark.parametrize("sends", [published(b"a/+/b"), published(b"\xff"), published(b""), b"\xf0\0", b"\xe0\0"])
async def test_what_no_broker_sends_ends_the_connection_and_the_next_one_waits_longer(sends: bytes) -> None:
    async with HostileBroker(sends) as broker:
        config = MqttConfig("127.0.0.1", broker.port, fleet_key=KEY)
        exchange = MqttExchange(bytes(32), config, retry=RetryTimes(0.02, 10.0))
        await exchange.start(Hello("north", ()))
        await asyncio.sleep(0.5)
        assert 2 <= broker.came < 8
        assert broker.there <= 1
        await exchange.stop()
        await asyncio.sleep(0.05)
        assert broker.there == 0
