"""What a relay owes to whoever holds its cable: the REPL at any time, settings that survive, and coming back."""

import asyncio
import sys
from pathlib import Path

from relays import DEADLINE_S, open_console

from bitrelay.lab.board import Board
from bitrelay.lab.lab import Lab
from bitrelay.lab.scenario import BoardSpec, Scenario
from shared_protocol import console as messages

ALONE = Scenario(boards=(BoardSpec("relay"),))
MPREMOTE = str(Path(sys.executable).parent / "mpremote")


async def mpremote(board: Board, *arguments: str) -> str:
    """What the real tool prints; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        MPREMOTE, "connect", board.port, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(DEADLINE_S):
        output, _ = await process.communicate()
    assert process.returncode == 0, output
    return output.decode()


async def test_mpremote_gets_the_repl_of_a_running_relay_and_soft_reset_brings_the_relay_back() -> None:
    async with Lab(ALONE) as lab:
        await lab.ready()
        board = lab.boards["relay"]
        async with await open_console(board):
            pass
        assert "['firmware'" in await mpremote(board, "exec", "import os; print(sorted(os.listdir('/')))")
        # Whoever has the prompt keeps it: no watchdog ends the session.
        assert "prompt" in await mpremote(board, "resume", "exec", "print('prompt')")
        board.write(b"\x02\x04")
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
                assert told == {"key": "dial_max", "value": "1"}
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
