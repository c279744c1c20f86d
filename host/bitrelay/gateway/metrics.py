"""The numbers of a gateway for Prometheus, at http://HOST:PORT/metrics: names begin with bitrelay_gateway_.

They are served from threads of their own. What they show is read in the gateway's event loop when somebody
asks, so that nothing is kept twice and nothing is read while it changes.
"""

import asyncio
import concurrent.futures
import errno
import logging
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any, Final
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ..errors import PortBusy, PortError
from .metrics_server import serve

_log = logging.getLogger(__name__)

Values = dict[str, Any]
Read = Callable[[], tuple[Values, list[Values], Values]]

READ_TIMEOUT_S: Final = 2.0
PEER_DIGITS: Final = 16
"""Hex digits of a PeerId by which a gateway is named."""
_PREFIX: Final = "bitrelay_gateway_"


class MetricsServer:
    """read: gives `report.status`, `report.peers` and `report.traffic` of the gateway, in its event loop."""

    def __init__(self, host: str, port: int, read: Read) -> None:
        self._host = host
        self._port = port
        self._read = read
        self._server: tuple[WSGIServer, Thread] | None = None

    @property
    def address(self) -> str:
        """http://HOST:PORT/metrics, as it is served; there from the start on."""
        assert self._server is not None
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._server[0].server_port}/metrics"

    async def start(self) -> None:
        """Raises PortBusy, PortError."""
        registry = CollectorRegistry()
        registry.register(_Numbers(asyncio.get_running_loop(), self._read))
        try:
            # In a thread: it asks for this host's name.
            self._server = await asyncio.to_thread(serve, self._host, self._port, registry)
        except OSError as error:
            where = f"{self._host}:{self._port}"
            hint = 'Give another port in [metrics], or listen = "off"'
            if error.errno == errno.EADDRINUSE:
                raise PortBusy(f"the port for metrics, {where}, is in use", hint=hint) from None
            raise PortError(f"cannot serve metrics at {where}: {error.strerror}", hint=hint) from None

    async def close(self) -> None:
        """Harmless when it has not started, and when repeated."""
        if self._server is not None:
            (server, thread), self._server = self._server, None
            await asyncio.to_thread(_end, server, thread)


def _end(server: WSGIServer, thread: Thread) -> None:
    server.shutdown()
    server.server_close()
    thread.join(READ_TIMEOUT_S)


class _Numbers(Collector):
    def __init__(self, loop: asyncio.AbstractEventLoop, read: Read) -> None:
        self._loop = loop
        self._read = read

    def describe(self) -> list[Metric]:
        # Else the registry would collect once to learn the names, from within the loop that has to answer.
        return []

    def collect(self) -> Iterator[Metric]:
        up = _gauge("up", "Whether the gateway told its numbers in time.")
        read = self._asked()
        up.add_metric((), read is not None)
        yield up
        if read is not None:
            status, peers, traffic = read
            yield from _of_traffic(traffic)
            yield from _of_meshes(status)
            yield from _of_peers(peers)

    def _asked(self) -> tuple[Values, list[Values], Values] | None:
        reading: concurrent.futures.Future[tuple[Values, list[Values], Values]] = concurrent.futures.Future()

        def read() -> None:
            try:
                reading.set_result(self._read())
            except Exception as error:
                reading.set_exception(error)

        try:
            self._loop.call_soon_threadsafe(read)
            return reading.result(READ_TIMEOUT_S)
        except (TimeoutError, RuntimeError) as error:  # the loop is busy, or has ended
            _log.warning("The numbers were not told: %s", error or "the gateway did not answer in time")
            return None


def _of_traffic(traffic: Values) -> Iterator[Metric]:
    for name, told in (("frames", "Frames that left (up) or entered (down) a mesh."), ("bytes", "The same in bytes.")):
        family = _counter(name, told, "direction", "class")
        for direction, classes in traffic[name].items():
            for kind, count in classes.items():
                family.add_metric((direction, kind), count)
        yield family
    drops = _counter("drops", "Frames that did not cross, by reason.", "direction", "class", "reason")
    for direction, classes in traffic["drops"].items():
        for kind, reasons in classes.items():
            for reason, count in reasons.items():
                drops.add_metric((direction, kind, reason), count)
    yield drops
    waiting = _gauge("queue_frames", "Frames that wait to enter a mesh.", "mesh", "class")
    for mesh, classes in traffic["waiting"].items():
        for kind, count in classes.items():
            waiting.add_metric((mesh, kind), count)
    yield waiting
    yield _delays(traffic["delay_ms"])
    events = _counter("events", "What happened, by what.", "event")
    for event, count in traffic["events"].items():
        events.add_metric((event,), count)
    yield events
    underway = _gauge("underway_frames", "Frames on their way to other gateways.", "state")
    for state, count in traffic["underway"].items():
        underway.add_metric((state,), count)
    yield underway
    stored = _gauge("store_waiting_frames", "Frames that wait for a mesh that cannot be reached.", "mesh")
    for mesh, count in traffic["store"]["waiting"].items():
        stored.add_metric((mesh,), count)
    yield stored
    gone = _counter("store_lost_frames", "Frames that waited in vain: expired, or dropped for want of room.", "why")
    for why in ("expired", "dropped"):
        gone.add_metric((why,), traffic["store"][why])
    yield gone
    recorded = _counter("ledger_entries", "Entries that were appended to the ledger.")
    recorded.add_metric((), traffic["recorded"])
    yield recorded
    used = _gauge("bandwidth_mbps", "Running mean of what each side carries.", "side")
    limit = _gauge("bandwidth_limit_mbps", "What each side may carry.", "side")
    for side in ("local", "internet"):
        used.add_metric((side,), traffic["bandwidth"][f"{side}_mbps"])
        limit.add_metric((side,), traffic["bandwidth"][f"{side}_limit_mbps"])
    yield used
    yield limit


def _of_meshes(status: Values) -> Iterator[Metric]:
    up = _gauge("relay_up", "Whether a relay answers.", "mesh", "relay")
    pressure = _gauge("relay_pressure", "How full a relay says it is, 0 to 1.", "mesh", "relay")
    missed = _counter("relay_missed_frames", "Frames that a relay heard and could not tell.", "mesh", "relay")
    for mesh in status["meshes"]:
        for relay in mesh["relays"]:
            up.add_metric((mesh["name"], relay["name"]), relay["up"])
            pressure.add_metric((mesh["name"], relay["name"]), relay["pressure"])
            missed.add_metric((mesh["name"], relay["name"]), relay["missed"])
    yield from (up, pressure, missed)
    uptime = _gauge("uptime_seconds", "Since the gateway was started.")
    uptime.add_metric((), status["uptime_s"])
    yield uptime


def _of_peers(peers: list[Values]) -> Iterator[Metric]:
    up = _gauge("peer_up", "Whether another gateway can be reached.", "peer")
    latency = _gauge("peer_latency_seconds", "There and back.", "peer")
    load = _gauge("peer_load_percent", "How much of its budget another gateway says it uses.", "peer")
    frames = _counter("peer_frames", "Frames sent to (up) or taken from (down) another gateway.", "peer", "direction")
    volume = _counter("peer_bytes", "The same in bytes.", "peer", "direction")
    refused = _counter("peer_refused_frames", "Frames of another gateway that were refused.", "peer")
    for peer in peers:
        name = peer["id"][:PEER_DIGITS]
        up.add_metric((name,), peer["up"])
        if peer["latency_ms"] is not None:
            latency.add_metric((name,), peer["latency_ms"] / 1000)
        if peer["load_percent"] is not None:
            load.add_metric((name,), peer["load_percent"])
        for direction in ("up", "down"):
            frames.add_metric((name, direction), peer["frames"][direction])
            volume.add_metric((name, direction), peer["bytes"][direction])
        refused.add_metric((name,), peer["refused"])
    yield from (up, latency, load, frames, volume, refused)


def _delays(delays: Values) -> Metric:
    buckets, below = [], 0
    for bound, count in zip((*delays["bounds"], None), delays["counts"], strict=True):
        below += count
        buckets.append(("+Inf" if bound is None else str(bound / 1000), below))
    family = HistogramMetricFamily(
        f"{_PREFIX}delay_seconds", "From being heard in one mesh to being sent into another."
    )
    family.add_metric((), buckets, delays["sum"] / 1000)
    return family


def _counter(name: str, told: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(_PREFIX + name, told, labels=labels)


def _gauge(name: str, told: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, told, labels=labels)
