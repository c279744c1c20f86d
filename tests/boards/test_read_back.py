"""The relay that answers after flashing is believed only if all it says is what was flashed."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from bitrelay.boards.chips import CHIPS
from bitrelay.boards.read_back import Flashed, read_back
from bitrelay.errors import DeviceLost, ExitCode, NotVerified
from shared_protocol import console as messages
from tests.host.fake_relay import INFO, PtyRelay, SettingsRelay

FLASHED = Flashed(CHIPS["esp32c3"], "010203040506", "1.29.0", "0123456789ab", b'{"name": "roof"}')
SAYS = {"build": "0123456789ab", "chip": "Generic ESP32C3 module with ESP32C3"}


class Told:
    """A relay on a port, and what it says of itself."""

    def __init__(self) -> None:
        self.relay = SettingsRelay()
        self.relay.files["settings"] = FLASHED.settings
        self.info: dict[str, Any] = INFO | SAYS
        self.relay.answers[messages.INFO] = lambda relay, number, values: relay.reply(messages.INFO, number, self.info)
        self.served = PtyRelay(self.relay)


@pytest.fixture
def told() -> Iterator[Told]:
    made = Told()
    yield made
    made.served.close()


async def test_what_was_flashed_is_recognised(told: Told) -> None:
    running = await read_back(told.served.port, FLASHED, 5)
    assert (running.version, running.build, running.unique_id) == ("0.1.0", "0123456789ab", "010203040506")


@pytest.mark.parametrize(
    "says, reason",
    [
        ({"build": "abcdefabcdef"}, "program abcdefabcdef runs, not 0123456789ab"),
        ({"build": None}, "program without a build id runs"),
        ({"unique_id": b"\1\2\3\4\5\7"}, "board 010203040507 answers, not 010203040506"),
        ({"micropython": "1.28.0"}, "MicroPython 1.28.0 runs, not 1.29.0"),
        ({"micropython": "11.29.0"}, "MicroPython 11.29.0 runs"),
        ({"chip": "Generic ESP32 module with ESP32"}, "it says it is an Generic ESP32 module with ESP32, not an"),
    ],
)
async def test_what_is_something_else_is_told(told: Told, says: dict[str, Any], reason: str) -> None:
    told.info |= says
    with pytest.raises(NotVerified, match=reason) as error:
        await read_back(told.served.port, FLASHED, 5)
    assert error.value.exit_code is ExitCode.NOT_VERIFIED


async def test_other_settings_are_told(told: Told) -> None:
    with pytest.raises(NotVerified, match="its settings are not those that were written"):
        await read_back(told.served.port, replace(FLASHED, settings=b"{}"), 5)


async def test_a_board_that_goes_away_meanwhile_is_told_under_the_users_name_for_it() -> None:
    with pytest.raises(DeviceLost, match=r"roof: everything is written, and the device has gone.*nothing listens"):
        await read_back("rfc2217://127.0.0.1:9", FLASHED, 0.3, called="roof")
