"""Files of a relay over its console: whole or not at all, whatever the relay does."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bitrelay.console import Console
from bitrelay.errors import DeviceError, DeviceTimeout, NoDevice, RequestRefused
from bitrelay.relay_files import IDENTITY, SETTINGS, export_file, has_restarted, import_file, restart
from shared_protocol import console as messages
from tests.host.fake_relay import INFO, FakeRelay, PtyRelay, Rfc2217Relay, SettingsRelay, Values


@pytest.fixture
def relay() -> SettingsRelay:
    return SettingsRelay()


def kinds(relay: FakeRelay) -> list[int]:
    return [kind for kind, _, _ in relay.requests]


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 1024, 1700])
async def test_files_go_out_and_in_byte_for_byte(relay: SettingsRelay, pty_relay: PtyRelay, size: int) -> None:
    data = bytes(n * 7 % 256 for n in range(size))
    async with await Console.open(pty_relay.port) as console:
        await import_file(console, IDENTITY, data)
        assert relay.files["identity"] == data
        assert await export_file(console, IDENTITY) == data
    pieces = max(1, -(-size // 512))
    assert kinds(relay).count(messages.IMPORT) == kinds(relay).count(messages.EXPORT) == pieces


async def test_settings_go_in_with_their_minutes(relay: SettingsRelay, pty_relay: PtyRelay) -> None:
    async with await Console.open(pty_relay.port) as console:
        await import_file(console, SETTINGS, b'{"max_links": 3}', trial_min=7)
    assert relay.stored == {"max_links": 3}
    assert relay.trial_min == 7


async def test_a_refusal_is_raised_with_the_relays_words(relay: SettingsRelay, pty_relay: PtyRelay) -> None:
    async with await Console.open(pty_relay.port) as console:
        with pytest.raises(RequestRefused, match="max_links"):
            await import_file(console, SETTINGS, b'{"max_links": 99}')
    assert relay.files["settings"] == b""


async def test_a_relay_that_is_too_old_is_told_from_one_that_refuses(relay: SettingsRelay, pty_relay: PtyRelay) -> None:
    relay.answers[messages.EXPORT] = lambda relay, i, values: relay.say(
        messages.ERROR, i, {"code": "unknown", "text": "this relay does not know request 12"}
    )
    async with await Console.open(pty_relay.port) as console:
        with pytest.raises(RequestRefused, match="bitrelay flash"):
            await export_file(console, SETTINGS)


@pytest.mark.parametrize(
    "answers",
    [
        [{"size": 4, "offset": 1, "data": b"ab"}],
        [{"size": 4, "offset": 0, "data": b"abcde"}],
        [{"size": 4, "offset": 0, "data": b""}],
        [{"size": 1 << 30, "offset": 0, "data": b"ab"}],
        [{"size": 4, "offset": 0, "data": b"ab"}, {"size": 5, "offset": 2, "data": b"cde"}],
        [{}],
    ],
    ids=["wrong offset", "too long", "empty piece", "too large", "changed meanwhile", "nothing told"],
)
async def test_pieces_that_do_not_fit_are_no_file(
    relay: SettingsRelay, pty_relay: PtyRelay, answers: list[Values]
) -> None:
    left = iter(answers)
    relay.answers[messages.EXPORT] = lambda relay, i, values: relay.reply(messages.EXPORT, i, next(left))
    async with await Console.open(pty_relay.port) as console:
        with pytest.raises(DeviceError):
            await export_file(console, SETTINGS)


@pytest.mark.parametrize("answer", [{"size": 2, "offset": 1}, {"size": 3, "offset": 2}, {}])
async def test_a_piece_that_was_not_taken_is_noticed(relay: SettingsRelay, pty_relay: PtyRelay, answer: Values) -> None:
    relay.answers[messages.IMPORT] = lambda relay, i, values: relay.reply(messages.IMPORT, i, answer)
    async with await Console.open(pty_relay.port) as console:
        with pytest.raises(DeviceError):
            await import_file(console, SETTINGS, b"{}")


# Restart


async def test_after_a_restart_the_console_is_a_new_one(relay: SettingsRelay, served: PtyRelay | Rfc2217Relay) -> None:
    async with await restart(await Console.open(served.port)) as console:
        assert console.info["uptime_s"] == 0
    assert relay.starts == 1


async def test_a_relay_that_has_not_gone_down_yet_is_not_taken_for_restarted(
    relay: SettingsRelay, pty_relay: PtyRelay
) -> None:
    answered: list[int] = []

    def slowly(relay: FakeRelay, request_id: int, values: Values) -> None:
        answered.append(request_id)
        uptime = 4000 if len(answered) < 5 else 0
        relay.reply(messages.INFO, request_id, INFO | {"uptime_s": uptime})

    console = await Console.open(pty_relay.port)
    relay.answers[messages.INFO] = slowly
    async with await restart(console) as restarted:
        assert restarted.info["uptime_s"] == 0
    assert len(answered) >= 5


class Replugged:
    """A port, by the name of a link, that is taken away at the restart and is there again under another device."""

    def __init__(self, relay: SettingsRelay, link: Path) -> None:
        self.relay = relay
        self.link = link
        self.served = [PtyRelay(relay)]
        link.symlink_to(self.served[0].port)
        relay.on_restart = self.take_away

    def take_away(self) -> None:
        """As a chip with USB of its own does."""
        self.link.unlink()
        self.served[-1].vanish()

    def put_back(self) -> None:
        """What the chip does next."""
        self.relay.start()
        self.served.append(PtyRelay(self.relay))
        self.link.symlink_to(self.served[-1].port)


@pytest.fixture
def replugged(relay: SettingsRelay, tmp_path: Path) -> Iterator[Replugged]:
    port = Replugged(relay, tmp_path / "relay")
    yield port
    for served in port.served:
        served.close()


async def test_a_port_that_goes_away_is_waited_for(
    relay: SettingsRelay, replugged: Replugged, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Console.open
    missed: list[str] = []

    async def open_and_look(port: str, timeout_s: float = 5.0) -> Console:
        try:
            return await opened(port, timeout_s)
        except NoDevice as error:
            missed.append(error.what)
            if len(missed) == 3:
                replugged.put_back()
            raise

    console = await opened(str(replugged.link))
    monkeypatch.setattr(Console, "open", open_and_look)
    async with await restart(console) as restarted:
        assert restarted.info["uptime_s"] == 0
    assert missed == ["no such port"] * 3


async def test_a_relay_that_does_not_come_back_is_told_with_what_happens_next(
    relay: SettingsRelay, replugged: Replugged
) -> None:
    console = await Console.open(str(replugged.link))
    with pytest.raises(DeviceTimeout, match="has not come back within 0.5 s of its restart. It reverts") as error:
        await restart(console, 0.5, "It reverts")
    assert error.value.device == str(replugged.link)


async def test_a_restart_that_is_refused_keeps_the_console(relay: SettingsRelay, pty_relay: PtyRelay) -> None:
    relay.answers[messages.REBOOT] = lambda relay, i, values: relay.say(messages.ERROR, i, {"code": "busy"})
    async with await Console.open(pty_relay.port) as console:
        with pytest.raises(RequestRefused):
            await restart(console)
        await asyncio.wait_for(console.request(messages.INFO), 5)


@pytest.mark.parametrize(
    ("uptime_s", "seconds", "restarted"), [(0, 0.2, True), (2, 2.1, True), (3, 2.1, False), (4000, 30.0, False)]
)
def test_a_relay_has_restarted_if_it_is_up_for_less_than_that(uptime_s: int, seconds: float, restarted: Any) -> None:
    assert has_restarted(uptime_s, seconds) is restarted
