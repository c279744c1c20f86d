"""What a broker adds: how long messages take over Mosquitto, how many a second, what shared subscriptions reorder.

    python tests/gateway/mqtt_figures.py --count 5000

All gateways are in this process, the broker in another one, on loopback. For comparison the same sealed bytes go over a
TCP connection, and a message is written, sealed, opened and read by direct calls.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bitrelay.errors import TransportClosed
from bitrelay.gateway.bridge_frame import KEY_SIZE
from bitrelay.gateway.config import MqttConfig
from bitrelay.gateway.exchange import MessageCame
from bitrelay.gateway.message import (
    MOST_BYTES,
    FrameMessage,
    Hello,
    MeshOffer,
    Notice,
    NoticeMessage,
    decode,
    encode,
)
from bitrelay.gateway.mqtt_exchange import MqttExchange
from bitrelay.gateway.sealed_message import Kind, Opened, Opener, Sealer
from bitrelay.transports.fair_queue import Traffic
from tests.gateway.mosquitto import CuttableWay, Mosquitto

BROKER = ("allow_anonymous true", "max_inflight_messages 100", "max_queued_messages 10000")
"""As docs/mqtt.md says."""
KEY = bytes(range(32))
FRAME_BYTES = 200
RATE = 20.0
PACED = 200
SLOW_S = 0.02
_TOPIC = "bitrelay/1/mesh/west/frames"


def message(number: int) -> FrameMessage:
    return FrameMessage("east", "west", number.to_bytes(4, "big") + bytes(FRAME_BYTES - 4))


class Gateway:
    """Keeps when each numbered message came, in the order of all gateways together. answers: each frame with a note."""

    def __init__(self, own: bytes, port: int, came: list[tuple[int, float]], *, answers: bool = False) -> None:
        self.exchange = MqttExchange(own, MqttConfig("127.0.0.1", port, fleet_key=KEY))
        self._came = came
        self._answers = answers

    async def start(self, *meshes: str) -> "Gateway":
        await self.exchange.start(Hello("figures", tuple(MeshOffer(each, downlink=True) for each in meshes)))
        self._reader = asyncio.create_task(self._read())
        return self

    async def stop(self) -> None:
        await self.exchange.stop()
        await self._reader

    async def _read(self) -> None:
        try:
            while True:
                event = await self.exchange.next_event()
                if not isinstance(event, MessageCame):
                    continue
                at = time.perf_counter()
                match event.message:
                    case FrameMessage(value=value):
                        self._came.append((int.from_bytes(value[:4], "big"), at))
                        if self._answers:
                            note = NoticeMessage(Notice.INTAKE, "west", (value[:4] + bytes(KEY_SIZE - 4),))
                            await self.exchange.send(event.peer_id, note, Traffic.INTERACTIVE)
                    case NoticeMessage(keys=keys):
                        self._came.append((int.from_bytes(keys[0][:4], "big"), at))
        except TransportClosed:
            pass


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0.001)


def told(label: str, seconds: list[float]) -> None:
    cuts = statistics.quantiles(seconds, n=100)
    print(f"{label:48} p50 {cuts[49] * 1000:7.3f} ms   p95 {cuts[94] * 1000:7.3f} ms")


async def over_broker(port: int, count: int) -> None:
    came: list[tuple[int, float]] = []
    a, b = await Gateway(b"a" * 32, port, []).start("east"), await Gateway(b"b" * 32, port, came).start("west")
    await until(lambda: len(a.exchange.gateways()) == 1 and len(b.exchange.gateways()) == 1)
    sent = []
    for number in range(PACED):
        sent.append(time.perf_counter())
        await a.exchange.send_to_mesh(message(number), b"author", Traffic.INTERACTIVE)
        await asyncio.sleep(1 / RATE)
    await until(lambda: len(came) == PACED)
    told(f"over Mosquitto, {RATE:.0f} a second", [at - sent[number] for number, at in came])
    came.clear()
    began = time.perf_counter()
    for number in range(count):
        await a.exchange.send_to_mesh(message(number), b"author", Traffic.INTERACTIVE)
    await until(lambda: len(came) == count)
    print(f"{'over Mosquitto, as fast as they go':48} {count / (came[-1][1] - began):7.0f} messages/s")
    assert [number for number, _ in came] == list(range(count)), "to one gateway they keep their order"
    await a.stop()
    await b.stop()


async def there_and_back(port: int, label: str) -> None:
    came: list[tuple[int, float]] = []
    a = await Gateway(b"a" * 32, port, came).start("east")
    b = await Gateway(b"b" * 32, port, [], answers=True).start("west")
    await until(lambda: len(a.exchange.gateways()) == 1 and len(b.exchange.gateways()) == 1)
    sent = []
    for number in range(PACED):
        sent.append(time.perf_counter())
        await a.exchange.send_to_mesh(message(number), b"author", Traffic.INTERACTIVE)
        await asyncio.sleep(1 / RATE)
    await until(lambda: len(came) == PACED)
    told(f"there and back, {label}", [at - sent[number] for number, at in came])
    await a.stop()
    await b.stop()


async def shared(port: int, count: int, delay_s: float) -> None:
    came: list[tuple[int, float]] = []
    async with CuttableWay(port, delay_s) as way:
        a = await Gateway(b"a" * 32, port, []).start("east")
        b = await Gateway(b"b" * 32, port, came).start("west")
        c = await Gateway(b"c" * 32, way.port if delay_s else port, came).start("west")
        await until(lambda: all(len(each.exchange.gateways()) == 2 for each in (a, b, c)))
        for number in range(count):
            await a.exchange.send_to_mesh(message(number), b"author", Traffic.BULK)
            await asyncio.sleep(0.002)
        await until(lambda: len(came) == count)
        highest, late = -1, 0
        for number, _ in came:
            late += number < highest
            highest = max(highest, number)
        label = f"shared by two gateways, one {delay_s * 1000:.0f} ms farther away"
        print(f"{label:48} {late / count:7.1%} came after a later one")
        for each in (a, b, c):
            await each.stop()


async def over_tcp() -> None:
    sealer = Sealer(b"a" * 32, KEY, time.time)
    sealer.begin()
    came: list[float] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while size := await reader.read(4):
            await reader.readexactly(int.from_bytes(size, "big"))
            came.append(time.perf_counter())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    sent = []
    for number in range(PACED):
        sent.append(time.perf_counter())
        data = sealer.seal(_TOPIC, Kind.MESSAGE, encode(message(number)))
        writer.write(len(data).to_bytes(4, "big") + data)
        await asyncio.sleep(1 / RATE)
    await until(lambda: len(came) == PACED)
    writer.close()
    server.close()
    told(f"over TCP, {RATE:.0f} a second", [at - start for start, at in zip(sent, came, strict=True)])


def direct(count: int) -> None:
    sealer = Sealer(b"a" * 32, KEY, time.time)
    sealer.begin()
    opener = Opener(b"b" * 32, KEY, time.time, MOST_BYTES)
    took = []
    for number in range(count):
        began = time.perf_counter()
        opened = opener.open(_TOPIC, sealer.seal(_TOPIC, Kind.MESSAGE, encode(message(number))))
        assert isinstance(opened, Opened) and decode(opened.body) == message(number)
        took.append(time.perf_counter() - began)
    told("written, sealed, opened and read: direct calls", took)


async def main(count: int) -> None:
    direct(count)
    await over_tcp()
    with tempfile.TemporaryDirectory() as folder:
        async with Mosquitto(Path(folder), BROKER, nodelay=False) as broker:
            await there_and_back(broker.port, "set_tcp_nodelay false")
        async with Mosquitto(Path(folder), BROKER) as broker:
            await there_and_back(broker.port, "set_tcp_nodelay true")
            await over_broker(broker.port, count)
            for delay_s in (0.0, SLOW_S):
                await shared(broker.port, 1000, delay_s)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5000)
    asyncio.run(main(parser.parse_args().count))
