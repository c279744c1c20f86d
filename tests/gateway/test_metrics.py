"""Prometheus gets what the gateway tells, in a form that its own parser takes."""

import asyncio
import socket
import threading
from typing import Any
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bitrelay.errors import PortBusy, PortError
from bitrelay.gateway import metrics_server
from bitrelay.gateway.metrics import MetricsServer

DEADLINE_S = 10
STATUS: dict[str, Any] = {
    "uptime_s": 12,
    "meshes": [{"name": 'we"st\n', "relays": [{"name": "/dev/ttyUSB0", "up": True, "pressure": 0.25, "missed": 11}]}],
}
PEERS: list[dict[str, Any]] = [
    {
        "id": f"{number:064x}"[::-1],
        "up": number == 1,
        "latency_ms": 20.0 if number == 1 else None,
        "load_percent": 7 if number == 1 else None,
        "frames": {"up": number, "down": 0},
        "bytes": {"up": 100 * number, "down": 0},
        "refused": 3,
    }
    for number in (1, 2)
]
TRAFFIC: dict[str, Any] = {
    "frames": {"up": {"bulk": 5}, "down": {"bulk": 2}},
    "bytes": {"up": {"bulk": 500}, "down": {"bulk": 200}},
    "drops": {"up": {}, "down": {"bulk": {"queue full": 4}}},
    "waiting": {"west": {"bulk": 1}},
    "delay_ms": {"bounds": [10, 100], "counts": [1, 2, 3], "sum": 1500.0},
    "events": {"malformed from a mesh": 9},
    "underway": {"standby": 1},
    "store": {"waiting": {"east": 6}, "expired": 2, "dropped": 0},
    "recorded": 8,
    "bandwidth": {
        "local_mbps": 5.2, "internet_mbps": 45.8, "local_limit_mbps": 10.0, "internet_limit_mbps": 100.0,
    },
}  # fmt: skip


async def scraped(address: str) -> dict[tuple[str, ...], float]:
    """Samples by name and values of labels, in alphabetic order."""

    def scrape() -> str:
        with urlopen(address, timeout=DEADLINE_S) as answer:
            return str(answer.read().decode())

    text = await asyncio.to_thread(scrape)
    return {
        (sample.name.removeprefix("bitrelay_gateway_"), *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_what_the_gateway_tells_is_served() -> None:
    threads: set[int] = set()

    def read() -> tuple[Any, Any, Any]:
        threads.add(threading.get_ident())
        return STATUS, PEERS, TRAFFIC

    server = MetricsServer("127.0.0.1", 0, read)
    await server.start()
    try:
        found = await scraped(server.address)
    finally:
        await server.close()
        await server.close()
    assert threads == {threading.get_ident()}  # in the gateway's own loop
    expected: dict[tuple[str, ...], float] = {
        ("up",): 1,
        ("frames_total", "up", "bulk"): 5,
        ("bytes_total", "down", "bulk"): 200,
        ("drops_total", "down", "bulk", "queue full"): 4,
        ("queue_frames", "west", "bulk"): 1,
        ("delay_seconds_bucket", "0.01"): 1,
        ("delay_seconds_bucket", "0.1"): 3,
        ("delay_seconds_bucket", "+Inf"): 6,
        ("delay_seconds_count",): 6,
        ("delay_seconds_sum",): 1.5,
        ("events_total", "malformed from a mesh"): 9,
        ("underway_frames", "standby"): 1,
        ("store_waiting_frames", "east"): 6,
        ("store_lost_frames_total", "expired"): 2,
        ("ledger_entries_total",): 8,
        ("bandwidth_mbps", "local"): 5.2,
        ("bandwidth_limit_mbps", "internet"): 100.0,
        ("relay_up", 'we"st\n', "/dev/ttyUSB0"): 1,
        ("relay_pressure", 'we"st\n', "/dev/ttyUSB0"): 0.25,
        ("relay_missed_frames_total", 'we"st\n', "/dev/ttyUSB0"): 11,
        ("peer_up", "1" + 15 * "0"): 1,
        ("peer_up", "2" + 15 * "0"): 0,
        ("peer_latency_seconds", "1" + 15 * "0"): 0.02,
        ("peer_bytes_total", "2" + 15 * "0", "up"): 200,
        ("peer_refused_frames_total", "2" + 15 * "0"): 3,
        ("uptime_seconds",): 12,
    }
    assert {key: found.get((key[0], *sorted(key[1:]))) for key in expected} == expected
    assert ("peer_latency_seconds", "2" + 15 * "0") not in found


async def test_a_gateway_that_fails_to_tell_is_not_up() -> None:
    def read() -> tuple[Any, Any, Any]:
        raise RuntimeError("broken")

    server = MetricsServer("127.0.0.1", 0, read)
    await server.start()
    try:
        assert await scraped(server.address) == {("up",): 0}
    finally:
        await server.close()


async def test_a_port_that_is_taken_is_told_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortBusy, match=rf"127\.0\.0\.1:{port}, is in use.*\[metrics\]"):
            await MetricsServer("127.0.0.1", port, lambda: (STATUS, PEERS, TRAFFIC)).start()
    with pytest.raises(PortError):
        await MetricsServer("192.0.2.1", 0, lambda: (STATUS, PEERS, TRAFFIC)).start()


async def test_whoever_connects_and_says_nothing_takes_up_little_and_is_hung_up_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics_server._Handler, "timeout", 0.2)
    server = MetricsServer("127.0.0.1", 0, lambda: (STATUS, PEERS, TRAFFIC))
    await server.start()
    before = threading.active_count()
    port = int(server.address.split(":")[2].split("/")[0])
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
    try:
        assert threading.active_count() <= before + metrics_server.MOST_AT_ONCE
        async with asyncio.timeout(DEADLINE_S):
            assert {await reader.read() for reader, _ in silent} == {b""}
        assert (await scraped(server.address))["up",] == 1
    finally:
        for _, writer in silent:
            writer.close()
        await server.close()
