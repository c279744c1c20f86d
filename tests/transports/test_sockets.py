"""Of several places, the first that answers; and whom an address is counted for."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from bitrelay.errors import Unreachable
from bitrelay.transports import quic, sockets, udp
from bitrelay.transports.address import HostAddress, Tcp
from bitrelay.transports.pipe import Pipe
from bitrelay.transports.sockets import first_opened, source_of_host
from tests.transports.ends import DEADLINE_S, anywhere, ends, peer_id
from tests.transports.test_channel import MemoryPipe, pipes


def never() -> Coroutine[Any, Any, Pipe]:
    return asyncio.Event().wait()  # type: ignore[return-value]


async def refuse() -> Pipe:
    raise Unreachable("refused")


def give(pipe: Pipe) -> Callable[[], Coroutine[Any, Any, Pipe]]:
    async def open_it() -> Pipe:
        return pipe

    return open_it


@pytest.mark.parametrize("before", [[], [refuse], [refuse, refuse, never], [never]])
async def test_the_first_to_open_is_taken(
    before: list[Callable[[], Coroutine[Any, Any, Pipe]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "STAGGER_S", 0.01)
    pipe, _ = pipes()
    async with asyncio.timeout(DEADLINE_S):
        assert await first_opened([*before, give(pipe), refuse]) is pipe
    assert len(asyncio.all_tasks()) == 1


async def test_one_that_opens_too_late_is_ended() -> None:
    (late, other), (first, _) = pipes(), pipes()

    async def slow() -> Pipe:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
        return late

    assert await first_opened([slow, give(first)]) is first
    assert isinstance(other, MemoryPipe) and await other.inbox.get() is None


async def test_when_none_opens_it_is_told_why() -> None:
    with pytest.raises(Unreachable, match="refused"):
        await first_opened([refuse, refuse])
    with pytest.raises(Unreachable, match="no address"):
        await first_opened([])


@pytest.mark.parametrize(("scheme", "module"), [("udp", udp), ("quic", quic)])
async def test_a_host_that_does_not_answer_at_its_first_address(
    scheme: str, module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        async with ends(scheme, 1, 2) as (server, client):
            address = await server.listen(anywhere(scheme))
            assert isinstance(address, HostAddress)

            async def two(address: HostAddress, *, passive: bool = False) -> list[tuple[int, tuple[str, int]]]:
                return [(socket.AF_INET, silent.getsockname()), (socket.AF_INET, ("127.0.0.1", address.port))]

            monkeypatch.setattr(module, "resolve", two)
            assert await client.connect(address, timeout=DEADLINE_S) == peer_id(1)


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("relay.example", "relay.example"),
    ],
)
def test_whom_an_address_is_counted_for(host: str, source: str) -> None:
    assert source_of_host(Tcp(host, 1).host) == source
