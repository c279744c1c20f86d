import asyncio

import bluetooth
from storage import IDENTITY, TRIAL, is_there, read, remove_all, start

from firmware import stored


# A Bluetooth stack that says yes to everything, one for all, as a board's.
class BLE:
    handler = None
    on = False
    names = []

    def active(self, on):
        BLE.on = on

    def irq(self, handler):
        BLE.handler = handler

    def config(self, name=None, gap_name=None, mtu=0):
        if gap_name:
            BLE.names.append(gap_name)
        return (0, b"\xf0\xf1\xf2\xf3\xf4\x01") if name else None

    def gatts_register_services(self, services):
        return ((3,), (5, 7, 10))

    def gatts_set_buffer(self, handle, size):
        pass

    def gap_advertise(self, interval, adv_data=None, resp_data=None):
        pass

    def gap_scan(self, *how):
        pass


bluetooth.BLE = BLE

from firmware import app  # noqa: E402


def _run_mesh(relay):
    async def run():
        loop = asyncio.create_task(relay.guard(relay.mesh()))
        await asyncio.sleep_ms(50)
        loop.cancel()

    asyncio.run(run())
    assert relay.error is None, relay.error


def check_a_relay_can_be_made_again_and_again():
    remove_all()
    for _ in range(3):
        relay = app.Relay("")
        assert BLE.on and BLE.handler is not None
        _run_mesh(relay)


def check_it_has_an_identity_from_its_first_start_on():
    remove_all()
    app.Relay("")
    made = read(IDENTITY)
    app.Relay("")
    assert len(made) == 72 and read(IDENTITY) == made


def check_settings_that_are_in_force_and_not_confirmed_go_back_with_a_restart():
    remove_all()
    stored.change(start(), "max_links", "3", None, 0)
    relay = app.Relay("")
    relay.clock.tenths = 5980
    _run_mesh(relay)
    assert not relay.commands.reboot and is_there(TRIAL)
    relay.clock.tenths = 6000
    _run_mesh(relay)
    assert relay.commands.reboot and not is_there(TRIAL)
    assert start()["max_links"] == 4


def check_settings_that_were_not_in_force_yet_go_back_without_a_restart():
    remove_all()
    relay = app.Relay("")
    relay.clock.tenths = 100_000
    stored.change(relay.settings, "max_links", "3", 1, 10_000)
    _run_mesh(relay)
    assert is_there(TRIAL)
    relay.clock.tenths = 100_600
    _run_mesh(relay)
    assert not relay.commands.reboot and not is_there(TRIAL)
    assert start()["max_links"] == 4


def check_settings_that_cannot_be_put_back_now_are_put_back_later():
    remove_all()
    stored.change(start(), "max_links", "3", None, 0)
    relay = app.Relay("")
    told = []
    relay.log.emit = lambda kind, values: told.append(values["text"])
    relay.clock.tenths = 6000

    def full(path, data):
        raise OSError(28)

    from firmware import files

    kept = files.replace
    files.replace = full
    try:
        relay.end_trial()
    finally:
        files.replace = kept
    assert relay.settings.trial_s(600) == 60 and not relay.commands.reboot and "28" in told[0]
    relay.clock.tenths = 6600
    _run_mesh(relay)
    assert relay.commands.reboot and start()["max_links"] == 4


def check_a_relay_that_fails_leaves_the_radio_off_and_its_handler_forgotten():
    remove_all()

    kept = app.Relay
    made = []

    class Failing:
        def __init__(self, booted):
            made.append(kept("", booted))
            raise MemoryError

    app.Relay = Failing
    try:
        app.main(True)
    except MemoryError:
        pass
    else:
        raise AssertionError
    finally:
        app.Relay = kept
    assert len(made) == 1 and not BLE.on and BLE.handler is None
