"""A relay is unplugged and plugged in again, hangs, is busy: the link with it tells, and comes back."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bitrelay import ports
from bitrelay.errors import BadData, DeviceLost, DeviceTimeout, NoDevice, TransportClosed
from bitrelay.gateway import relay_link, relay_opening
from bitrelay.gateway.relay_link import PortLink
from bitrelay.gateway.relay_pressure import pressure
from bitrelay.ports import Device
from bitrelay.transports.address import Serial
from bitrelay.transports.relay_port import ConsolePort, RelayLoad, RelayPort
from tests.gateway.relays import HearingRelay
from tests.host.command import FRAME
from tests.host.fake_relay import PtyRelay
from tests.transports.virtual_time import later, now, virtual_time

DEADLINE_S = 10
IDLE = RelayLoad(0.0, 0, 0, 0, 0)


class Port(RelayPort):
    """A relay in memory. hangs: it takes nothing and answers nothing."""

    def __init__(self) -> None:
        self.peer_id = bytes(32)
        self.heard: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.said: RelayLoad | None = IDLE
        self.send_s = 0.0
        self.hangs = False

    @property
    def dropped(self) -> int:
        return 3

    async def send(self, frame: bytes) -> None:
        await asyncio.sleep(1e4 if self.hangs else self.send_s)

    async def receive(self) -> bytes:
        frame = await self.heard.get()
        if frame is None:
            raise DeviceLost("unplugged")
        return frame

    async def load(self) -> RelayLoad | None:
        if self.hangs:
            await asyncio.sleep(2)
            raise DeviceTimeout("no answer within 2 s")
        return self.said

    async def close(self) -> None:
        pass


class Socket:
    """Where a relay is plugged in, or none."""

    def __init__(self, port: Port | None = None) -> None:
        self.port = port
        self.tries: list[float] = []
        self.open = 0
        self.changes = asyncio.Event()
        self.link = PortLink("relay", self.opened)
        self.link.on_change = self.changes.set

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[RelayPort]:
        self.tries.append(now())
        if self.port is None:
            raise NoDevice("no such port")
        self.open += 1
        try:
            yield self.port
        finally:
            self.open -= 1

    async def changed(self) -> None:
        self.changes.clear()
        await self.changes.wait()


@virtual_time
async def test_a_relay_that_is_unplugged_is_told_and_comes_back() -> None:
    socket = Socket(Port())
    link = socket.link
    link.start()
    await socket.changed()
    assert (link.is_up, link.trouble) == (True, None)
    assert socket.port is not None
    socket.port.heard.put_nowait(b"one")
    assert await link.receive() == b"one"
    socket.port.heard.put_nowait(None)
    await socket.changed()
    assert (link.is_up, link.trouble) == (False, "unplugged")
    with pytest.raises(DeviceLost, match="unplugged"):
        await link.send(b"x")
    waits = asyncio.ensure_future(link.receive())
    socket.port = Port()
    await socket.changed()
    assert link.is_up
    socket.port.heard.put_nowait(b"two")
    assert await waits == b"two"
    await link.close()
    assert socket.open == 0


@virtual_time
async def test_one_that_is_not_there_is_tried_for_ever_and_less_often() -> None:
    socket = Socket()
    socket.link.start()
    await later(60)
    gaps = [round(b - a, 1) for a, b in zip(socket.tries, socket.tries[1:], strict=False)]
    assert gaps[:6] == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0]
    assert socket.link.trouble == "no such port"
    socket.port = Port()
    await later(10)
    assert socket.link.is_up
    await later(10)  # it is settled
    socket.port.heard.put_nowait(None)
    begun = len(socket.tries)
    await later(0.6)
    assert len(socket.tries) == begun + 1
    await socket.link.close()


@virtual_time
async def test_what_does_not_take_a_frame_in_time_says_so_and_one_that_hangs_is_opened_anew() -> None:
    socket = Socket(Port())
    link = socket.link
    link.start()
    await socket.changed()
    assert socket.port is not None
    socket.port.hangs = True
    begun = now()
    with pytest.raises(DeviceTimeout):
        await link.send(b"x")
    assert now() - begun == pytest.approx(relay_link.SEND_TIMEOUT_S)
    await later(1)
    assert (link.is_up, link.pressure) == (True, 1.0)
    await socket.changed()
    assert not link.is_up
    await link.close()


@virtual_time
async def test_a_relay_is_asked_every_second_how_full_it_is() -> None:
    socket = Socket(Port())
    link, port = socket.link, socket.port
    assert port is not None
    link.start()
    await later(1.5)
    assert link.pressure == 0
    port.said = RelayLoad(0.8, 0, 0, 0, 0)
    await later(1)
    assert link.pressure == pytest.approx(0.8)
    port.said, port.send_s = IDLE, 0.25
    await link.send(b"x")
    await later(1)
    assert link.pressure == pytest.approx(0.5)
    await later(1)
    assert link.pressure == 0
    await link.close()


@virtual_time
async def test_what_a_relay_heard_and_did_not_tell_is_counted_over_all_its_lives() -> None:
    socket = Socket(Port())
    link = socket.link
    link.start()
    await later(1.5)
    for untold in (10, 25, 5, 7):  # it restarts in between
        assert socket.port is not None
        socket.port.said = RelayLoad(0.0, 0, 0, 0, untold)
        await later(1)
    assert link.missed == 10 + 15 + 2 + 3
    socket.port.heard.put_nowait(None)
    socket.port = Port()
    await later(1)
    assert link.missed == 27 + 2 * 3
    await link.close()


@virtual_time
async def test_who_waits_for_a_frame_hears_of_the_end() -> None:
    socket = Socket(Port())
    socket.link.start()
    waits = asyncio.ensure_future(socket.link.receive())
    await later(1)
    for frame in (b"1", b"2"):
        assert socket.port is not None
        socket.port.heard.put_nowait(frame)
    await later(1)
    await socket.link.close()
    await socket.link.close()
    assert [await waits, await socket.link.receive()] == [b"1", b"2"]
    for _ in range(2):
        with pytest.raises(TransportClosed):
            await socket.link.receive()


@pytest.mark.parametrize(
    ("before", "after", "send_s", "found"),
    [
        (IDLE, RelayLoad(0.3, 100, 0, 0, 0), 0.0, 0.3),
        (IDLE, RelayLoad(0.3, 75, 25, 0, 0), 0.0, 0.5),
        (IDLE, RelayLoad(0.3, 10, 90, 0, 0), 0.0, 1.0),
        (IDLE, RelayLoad(0.0, 20, 0, 80, 0), 0.0, 0.4),
        (RelayLoad(0.0, 500, 400, 300, 0), IDLE, 0.0, 0.0),  # restarted
        (None, RelayLoad(0.2, 1, 1000, 1000, 0), 0.0, 0.2),  # of what was before nothing is known
        (IDLE, IDLE, 0.1, 0.2),
        (None, None, 5.0, 1.0),
    ],
)
def test_the_worst_sign_counts(before: RelayLoad | None, after: RelayLoad | None, send_s: float, found: float) -> None:
    assert pressure(before, after, send_s) == pytest.approx(found)


@pytest.mark.requirement("GWY-02")
async def test_a_relay_on_a_cable_is_unplugged_and_plugged_in_again(tmp_path: Path) -> None:
    name = tmp_path / "relay"
    link = relay_opening.relay_link(Serial(str(name)), lambda: pytest.fail("it is no Bluetooth"))
    changed = asyncio.Event()
    link.on_change = changed.set
    link.start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            await changed.wait()
            assert "no such port" in (link.trouble or "")
            for _ in range(2):
                served = PtyRelay(relay := HearingRelay(bytes.fromhex(FRAME)))
                try:
                    os.symlink(served.port, name)
                    assert await link.receive() == bytes.fromhex(FRAME)
                    await link.send(bytes.fromhex(FRAME))
                    assert relay.said.get(timeout=DEADLINE_S) == bytes.fromhex(FRAME)
                    with pytest.raises(BadData):
                        await link.send(bytes(513))
                    changed.clear()
                finally:
                    served.close()
                    name.unlink()
                await changed.wait()
                assert not link.is_up
    finally:
        await link.close()


async def test_a_relay_on_a_cable_says_how_busy_it_is() -> None:
    served = PtyRelay(HearingRelay())
    try:
        port = await ConsolePort.open(Serial(served.port))
        assert await port.load() == RelayLoad(0.75, 30, 7, 0, 4)
        await port.close()
    finally:
        served.close()


async def test_a_port_that_comes_back_under_another_name_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def usb(port: str) -> list[Device]:
        return [Device(port, "usb", port, "ESP32-C3", "AA:BB:CC:DD:EE:FF")]

    opened: list[str] = []

    async def open_(address: Serial) -> Port:
        opened.append(address.port)
        return Port()

    monkeypatch.setattr(relay_opening.ConsolePort, "open", open_)
    opening = relay_opening.SerialOpening(Serial("/dev/ttyACM0"))
    for port in ("/dev/ttyACM0", "/dev/ttyACM1"):
        monkeypatch.setattr(ports, "usb_ports", lambda port=port: usb(port))
        async with opening.opened():
            pass
    assert opened == ["/dev/ttyACM0", "/dev/ttyACM1"]
