"""`node nat --upnp` gives back what the router opened, whatever happens meanwhile. The router is two functions here."""

import asyncio
import signal
import threading
from dataclasses import dataclass, field

import pytest
import typer

from bitrelay.cli.running import run_until_told
from bitrelay.errors import ExitCode, Unreachable
from bitrelay.nat import upnp
from bitrelay.nat.upnp import WayIn, try_way_in
from bitrelay.transports.address import Udp

WAY = WayIn(Udp("9.9.9.9", 8766), Udp("192.168.1.2", 8766))


@dataclass
class Router:
    """Opens a port when it is let, and until it is asked to close it."""

    asked: threading.Event = field(default_factory=threading.Event)
    may: threading.Event = field(default_factory=threading.Event)
    open: list[int] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    closes: bool = True

    def open_port(self, port: int) -> WayIn:
        self.asked.set()
        assert self.may.wait(20)
        self.open.append(port)
        self.done.append("open")
        return WAY

    def close_port(self, port: int) -> None:
        if not self.closes:
            raise Unreachable("the router refuses: no")
        self.open.remove(port)
        self.done.append("close")


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> Router:
    router = Router()
    monkeypatch.setattr(upnp, "_open", router.open_port)
    monkeypatch.setattr(upnp, "_close", router.close_port)
    return router


def test_ctrl_c_while_the_router_opens_the_port_leaves_it_closed(router: Router) -> None:
    async def work() -> None:
        trying = asyncio.ensure_future(try_way_in(8766))
        await asyncio.to_thread(router.asked.wait, 20)
        signal.raise_signal(signal.SIGINT)
        try:
            await trying
        finally:
            router.may.set()

    with pytest.raises(typer.Exit) as ended:
        run_until_told(work())
    assert (ended.value.exit_code, router.done, router.open) == (ExitCode.INTERRUPTED, ["open", "close"], [])


def test_a_router_that_is_too_slow_leaves_it_closed(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upnp, "_TIMEOUT_S", 0.01)

    async def work() -> None:
        try:
            await try_way_in(8766)
        finally:
            router.may.set()

    with pytest.raises(Unreachable, match="in time"):
        asyncio.run(work())
    assert (router.done, router.open) == (["open", "close"], [])


async def test_a_port_that_stays_open_is_told(router: Router) -> None:
    router.may.set()
    assert await try_way_in(8766) == (WAY, None)
    router.closes = False
    way, stays = await try_way_in(8766)
    assert (way, str(stays)) == (WAY, "the router refuses: no")
