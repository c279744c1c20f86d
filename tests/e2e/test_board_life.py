"""What a relay owes to whoever holds its cable: the REPL at any time, settings that survive, and coming back."""

import asyncio

from relays import DEADLINE_S, open_console

from bitrelay.lab.lab import Lab
from bitrelay.lab.scenario import BoardSpec, Scenario
from bitrelay.relay_files import export_file, import_file
from shared_protocol import console as messages

ALONE = Scenario(boards=(BoardSpec("relay"),))


async def test_two_ctrl_c_give_the_prompt_and_a_soft_reset_brings_the_relay_back() -> None:
    async with Lab(ALONE) as lab:
        await lab.ready()
        board = lab.boards["relay"]
        async with await open_console(board):
            pass
        start = board.printed
        board.write(b"\x03\x03")
        await board.wait_for_output(r">>> $", DEADLINE_S, start)
        board.write(b"import os; print(sorted(os.listdir('/')))\r")
        await board.wait_for_output("'firmware', 'identity.bin', 'main.py'", DEADLINE_S, start)
        board.write(b"\x04")
        async with await open_console(board) as console:
            assert console.info["reset_cause"] == "soft reset"


async def test_ctrl_c_in_the_boot_window_gives_the_repl() -> None:
    async with Lab(ALONE) as lab:
        board = lab.boards["relay"]
        await board.wait_for_output("starting in 2 s", DEADLINE_S)
        board.write(b"\x03")
        await board.wait_for_output(r">>> $", DEADLINE_S)
        start = board.printed
        board.write(b"print(6 * 7)\r")
        await board.wait_for_output("\n42\r?\n", DEADLINE_S, start)


async def test_a_host_that_knocks_while_the_board_boots_does_not_stop_it() -> None:
    # Every request id and with it every byte a frame may hold, 0x03 among them.
    async with Lab(ALONE) as lab:
        board = lab.boards["relay"]
        await board.wait_for_output("starting in 2 s", DEADLINE_S)
        for request_id in range(1, 600):
            board.write(b"#\0" + messages_on_the_wire(request_id))
        async with await open_console(board) as console:
            assert console.info["name"] == "relay"
        assert board.boots == 1


def messages_on_the_wire(request_id: int) -> bytes:
    """An INFO request."""
    from shared_protocol.cobs import wrap

    return wrap(messages.encode(messages.INFO, request_id))


async def test_settings_survive_a_power_cut_at_any_moment() -> None:
    async with Lab(ALONE) as lab:
        await lab.ready()
        board = lab.boards["relay"]
        old = "relay"
        for cut_after_s in (0.0, 0.005, 0.02):
            new = f"after-{cut_after_s}"
            async with await open_console(board) as console:
                asking = asyncio.create_task(console.request(messages.SET, {"key": "name", "value": new}))
                await asyncio.sleep(cut_after_s)
                await board.kill()
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
            await board.start()
            async with await open_console(board) as console:
                assert console.info["name"] in (old, new)
                old = console.info["name"]
                told = await console.request(messages.SET, {"key": "dial_max", "value": "1"})
                assert told["value"] == "1"
                await console.request(messages.CONFIRM)
        await board.reboot()
        async with await open_console(board) as console:
            (record,) = await console.request_list(messages.GET, {"key": "dial_max"})
            assert record["value"] == "1" and console.info["name"] == old


async def test_a_reboot_that_was_asked_for_happens() -> None:
    async with Lab(ALONE) as lab:
        await lab.ready()
        board = lab.boards["relay"]
        async with await open_console(board) as console:
            await console.request(messages.REBOOT)
        async with await open_console(board) as console:
            assert console.info["reset_cause"] == "hard reset"
        assert board.boots == 2


async def test_settings_on_trial_go_back_at_the_fourth_start_unless_they_are_confirmed() -> None:
    async with Lab(ALONE) as lab:
        await lab.ready()
        board = lab.boards["relay"]
        async with await open_console(board) as console:
            told = await console.request(messages.SET, {"key": "max_links", "value": "2"})
            assert told == {"key": "max_links", "value": "2", "restart": True, "trial_s": 600}
        for start in range(1, 5):
            await board.reboot()
            async with await open_console(board) as console:
                assert console.info["max_links"] == (2 if start < 4 else 4), start
                assert ("trial_s" in console.info) == (start < 4) and not console.info["restart"]


async def test_settings_that_the_relay_cannot_start_with_do_not_keep_it_down() -> None:
    # Frame slots that do not fit its memory.
    small = Scenario(boards=(BoardSpec("relay", heap="228k"),))
    async with Lab(small) as lab:
        await lab.ready()
        board = lab.boards["relay"]
        async with await open_console(board) as console:
            await console.request(messages.SET, {"key": "frame_slots", "value": "64"})
            await console.request(messages.REBOOT)
        start = 0
        for _ in range(3):
            await board.wait_for_output("MemoryError", DEADLINE_S, start)
            start = board.printed
            await board.reboot()
        async with await open_console(board) as console:
            (record,) = await console.request_list(messages.GET, {"key": "frame_slots"})
            assert record["value"] == "20" and "trial_s" not in console.info
        assert board.boots == 5


async def test_settings_and_identity_go_to_another_relay_byte_by_byte() -> None:
    two = Scenario(boards=(BoardSpec("old"), BoardSpec("new")))
    async with Lab(two) as lab:
        await lab.ready()
        async with await open_console(lab.boards["old"]) as console:
            await console.request(messages.SET, {"key": "name", "value": "attic"})
            await console.request(messages.SET, {"key": "max_links", "value": "3"})
            kept = {what: await export_file(console, what) for what in (messages.SETTINGS, messages.IDENTITY)}
        async with await open_console(lab.boards["new"]) as console:
            assert await export_file(console, messages.IDENTITY) != kept[messages.IDENTITY]
            for what, data in kept.items():
                await import_file(console, what, data)
            assert (await console.request(messages.INFO))["restart"]
            await console.request(messages.REBOOT)
        async with await open_console(lab.boards["new"]) as console:
            assert console.info["name"] == "attic" and console.info["max_links"] == 3 and not console.info["restart"]
            for what, data in kept.items():
                assert await export_file(console, what) == data
