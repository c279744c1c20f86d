"""A flood of connection attempts, from one address or from many; run as a command it measures what a known peer feels.

python tests/transports/flood.py [SECONDS]
"""

import asyncio
import json
import resource
import socket
import statistics
import sys
from types import TracebackType
from typing import Self

from bitrelay.transports.address import Address, HostAddress


class Flood:
    """Connects to a TCP listener on loopback per_s times a second, from so many addresses in turn, and says nothing.

    Connections are held until the listener ends them or 200 are open.
    """

    def __init__(self, target: Address, *, sources: int, per_s: int) -> None:
        assert isinstance(target, HostAddress)
        self.made = 0
        self._target = (target.host, target.port)
        self._sources = sources
        self._per_s = per_s
        self._news = asyncio.Event()
        self._open: list[socket.socket] = []

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for sock in self._open:
            sock.close()

    async def attempts(self, count: int) -> None:
        """Wait until there were so many."""
        while self.made < count:
            if self._task.done():
                self._task.result()
            self._news.clear()
            await self._news.wait()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while True:
            for _ in range(10):
                self._attempt()
            self._news.set()
            await asyncio.sleep(max(0.0, begun + self.made / self._per_s - loop.time()))

    def _attempt(self) -> None:
        number = self.made % self._sources
        self.made += 1
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        # All of 127.0.0.0/8 is loopback on Linux.
        sock.bind((f"127.1.{number // 250}.{number % 250 + 1}", 0))
        try:
            sock.connect(self._target)
        except BlockingIOError:
            pass
        except OSError:
            sock.close()
            return
        self._open.append(sock)
        if len(self._open) > 200:
            self._open.pop(0).close()


async def _flood_only(host: str, port: int, sources: int, seconds: float) -> None:
    from bitrelay.transports.address import Tcp

    async with Flood(Tcp(host, port), sources=sources, per_s=1000) as flood:
        await asyncio.sleep(seconds)
        print(json.dumps({"attempts": flood.made}))


async def _measure(seconds: float) -> None:
    from ends import anywhere, peer_id
    from test_together import ANNA, BELA, coordinator

    from bitrelay.transports.limits import ConnectionLimits
    from bitrelay.transports.transport import DataReceived

    async with coordinator(BELA, "tcp", limits=ConnectionLimits()) as bela, coordinator(ANNA, "tcp") as anna:
        address = await bela.listen(anywhere("tcp"))
        assert isinstance(address, HostAddress)
        await anna.connect(address, peer=peer_id(BELA))

        async def echo() -> None:
            while True:
                event = await bela.next_event()
                if isinstance(event, DataReceived):
                    await bela.send(event.peer_id, event.data)

        async def echoes() -> list[float]:
            loop = asyncio.get_running_loop()
            end, times = loop.time() + seconds, []
            while (begun := loop.time()) < end:
                await anna.send(peer_id(BELA), b"ping")
                while not isinstance(await anna.next_event(), DataReceived):
                    pass
                times.append((loop.time() - begun) * 1000)
                await asyncio.sleep(0.01)
            return times

        echoing = asyncio.create_task(echo())
        for name, sources in (("idle", 0), ("one address", 1), ("1,000 addresses", 1000), ("idle again", 0)):
            flooding = None
            if sources:
                command = (sys.executable, __file__, "--flood", address.host, str(address.port), str(sources))
                flooding = await asyncio.create_subprocess_exec(*command, str(seconds), stdout=asyncio.subprocess.PIPE)
            times = await echoes()
            told = json.loads((await flooding.communicate())[0]) if flooding else {"attempts": 0}
            cuts = statistics.quantiles(times, n=20)
            print(
                f"{name:16} {told['attempts']:6} attempts, echo median {cuts[9]:.2f} ms, p95 {cuts[18]:.2f} ms, "
                f"{bela.manager.admission.entries} entries, "
                f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB at most"
            )
        echoing.cancel()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--flood"]:
        asyncio.run(_flood_only(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])))
    else:
        asyncio.run(_measure(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0))
