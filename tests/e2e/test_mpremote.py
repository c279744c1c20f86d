"""mpremote's verbs against a relay under load, and the relay goes on without a reset."""

import asyncio
import hashlib
import random
from pathlib import Path

import pytest
from mpremote_tool import mpremote, run_mpremote
from relays import DEADLINE_S, everybody_linked, open_console, wait_until

from bitrelay.lab.board import Board
from bitrelay.lab.frame_maker import FrameMaker, Kind
from bitrelay.lab.lab import Lab
from bitrelay.lab.phone import Phone
from bitrelay.lab.scenario import BoardSpec, Edge, PhoneSpec, Scenario
from bitrelay.lab.traffic import Flow, run_flow

PHONES = ("alice", "bob", "carol")
STAR = Scenario(
    boards=(BoardSpec("hub", settings=(("dial_max", 0),)),),
    phones=tuple(PhoneSpec(name, announce=False) for name in PHONES),
    edges=tuple(Edge(name, "hub") for name in PHONES),
)
ALONE = Scenario(boards=(BoardSpec("relay"),))

# More than any window, buffer or piece on the way, and every byte there is.
CONTENT = bytes(range(256)) * 9


async def chatter(phone: Phone) -> None:
    """Write a frame on every link there is, again and again, until cancelled."""
    maker = FrameMaker(phone.identity, random.Random(phone.name))
    while True:
        await phone.send(maker.make(Kind.PUBLIC, b"")[0])
        await asyncio.sleep(0.02)


async def told(board: Board) -> dict[str, object]:
    """The relay's own account, once it answers."""
    async with await open_console(board) as console:
        return console.info


async def test_every_verb_under_load_and_the_relay_goes_on_without_a_reset(tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.mkdir()
    (local / "data.bin").write_bytes(CONTENT)
    (local / "greeting.py").write_text("def greet():\n    return 'hello from ' + __file__\n")
    script = tmp_path / "script.py"
    script.write_text("import sys\nprint('script on', sys.platform)\n" + "# filler\n" * 400)
    async with Lab(STAR) as lab:
        await everybody_linked(lab)
        hub = lab.boards["hub"]
        before = await told(hub)
        talkers = [asyncio.create_task(chatter(phone)) for phone in lab.phones.values()]

        async def under_load(*verb: str) -> str:
            # Against a relay that forwards what the phones write. Verbs that follow at once meet it while it starts.
            for phone in lab.phones.values():
                phone.received.clear()
            heard = f"the relay forwards nothing before {verb}"
            await wait_until(lambda: sum(len(phone.received) for phone in lab.phones.values()) >= 10, heard)
            return await mpremote(hub, *verb)

        assert await under_load("exec", "print(6 * 7)") == "42\n"
        assert await mpremote(hub, "eval", "bytes(range(3))") == "b'\\x00\\x01\\x02'\n"
        assert "script on esp32" in await under_load("run", str(script))

        await under_load("fs", "mkdir", ":box")
        await mpremote(hub, "fs", "cp", str(local / "data.bin"), ":box/data.bin")
        assert "2304 data.bin" in await mpremote(hub, "fs", "ls", ":box")
        assert hashlib.sha256(CONTENT).hexdigest() in await under_load("fs", "sha256sum", ":box/data.bin")
        await mpremote(hub, "fs", "cp", ":box/data.bin", str(tmp_path / "back.bin"))
        assert (tmp_path / "back.bin").read_bytes() == CONTENT
        await under_load("fs", "cp", str(local / "greeting.py"), ":box/")
        assert (local / "greeting.py").read_text() in await mpremote(hub, "fs", "cat", ":box/greeting.py")
        tree = await under_load("fs", "tree")
        assert "greeting.py" in tree and "app.mpy" in tree
        await mpremote(hub, "fs", "rm", ":box/data.bin", ":box/greeting.py")
        await mpremote(hub, "fs", "rmdir", ":box")
        assert "box" not in await mpremote(hub, "fs", "ls")
        assert "mounted on" in await under_load("df")

        mounted = await under_load("mount", str(local), "exec", "import greeting; print(greeting.greet())")
        assert "hello from greeting.py" in mounted
        size = "print(len(open('data.bin', 'rb').read()))"
        assert str(len(CONTENT)) in await mpremote(hub, "mount", str(local), "exec", size, "umount")

        await under_load("soft-reset")
        assert await under_load("resume", "exec", "print('resumed')") == "resumed\n"
        assert await mpremote(hub, "exec", "x = 1", "sleep", "0.1", "exec", "print(x)") == "1\n"

        for talker in talkers:
            talker.cancel()
        await asyncio.gather(*talkers, return_exceptions=True)
        after = await told(hub)
        assert hub.boots == 1 and after["reset_cause"] == before["reset_cause"] == "power on"
        assert after["name"] == "hub" and after["build"] == before["build"]

        await lab.ready()
        flows = [
            Flow(name, tuple(other for other in PHONES if other != name), kinds=(Kind.PUBLIC,), count=10, window=3)
            for name in PHONES
        ]
        await asyncio.gather(*(run_flow(flow, lab.phones, lab.ledger) for flow in flows))
        report = lab.ledger.report()
        assert report.delivered == report.sent == 60 and not report.altered, (report, lab.ledger.missing())
        assert hub.boots == 1


async def test_an_error_is_an_error_as_on_any_board() -> None:
    async with Lab(ALONE) as lab:
        await lab.ready()
        status, output = await run_mpremote(lab.boards["relay"], "exec", "1/0")
        assert status == 1
        assert output.splitlines() == [
            "Traceback (most recent call last):",
            '  File "<stdin>", line 1, in <module>',
            "ZeroDivisionError: divide by zero",
        ]


async def test_reset_is_a_reset() -> None:
    async with Lab(ALONE) as lab:
        await lab.ready()
        board = lab.boards["relay"]
        await mpremote(board, "reset")
        await board.wait_for_output("starting in 2 s", DEADLINE_S, board.printed - 200)
        assert (await told(board))["reset_cause"] == "hard reset"
        assert board.boots == 2


async def test_a_relay_that_was_started_again_and_again_is_as_good_as_new() -> None:
    async with Lab(ALONE) as lab:
        await lab.ready()
        board = lab.boards["relay"]
        free = []
        for _ in range(8):
            await mpremote(board, "exec", "import json; keep = [bytes(1000) for _ in range(20)]")
            free.append((await told(board))["heap_free"])
        assert board.boots == 1
        # The computer's MicroPython keeps a record of machine code that was loaded, 768 bytes of the program it is now
        # each time; a board keeps the code.
        assert free[1] - free[-1] < 800 * len(free), free  # type: ignore[operator]


async def test_files_that_were_copied_are_what_runs_next() -> None:
    async with Lab(ALONE) as lab:
        await lab.ready()
        board = lab.boards["relay"]
        write = "with open('/build.txt', 'w') as f: f.write('{}')"
        await mpremote(board, "exec", write.format("somebody else"))
        assert (await told(board))["build"] == "somebody else"
        await mpremote(board, "exec", "import os; os.rename('/firmware/identity.mpy', '/identity.mpy')")
        await board.wait_for_output("no module named 'firmware.identity'", DEADLINE_S)
        await mpremote(board, "exec", "import os; os.rename('/identity.mpy', '/firmware/identity.mpy')")
        assert (await told(board))["reset_cause"] == "power on"
        assert board.boots == 1


async def test_code_that_needs_more_memory_than_there_is_ends_with_an_error_and_nothing_else() -> None:
    async with Lab(ALONE) as lab:
        await lab.ready()
        board = lab.boards["relay"]
        for code in ("x = bytearray(1 << 24)", "x = []\nwhile True: x.append(bytes(500))", "#" * 25_000):
            status, output = await run_mpremote(board, "exec", code)
            assert status == 1 and "MemoryError" in output, output
        assert (await told(board))["reset_cause"] == "power on" and board.boots == 1


async def test_ctrl_c_stops_what_runs_and_the_session_goes_on() -> None:
    async with Lab(ALONE) as lab:
        await lab.ready()
        board = lab.boards["relay"]
        board.write(b"\r\x03\r\x01")
        await board.wait_for_output(r"raw REPL; CTRL-B to exit\r\n>$", DEADLINE_S)
        start = board.printed
        board.write(b"print('begun')\nwhile True: pass\x04")
        await board.wait_for_output("OKbegun", DEADLINE_S, start)
        board.write(b"\x03")
        await board.wait_for_output("KeyboardInterrupt: \r?\n\x04>$", DEADLINE_S, start)
        board.write(b"print('still', 'here')\x04\r\x02")
        await board.wait_for_output("still here", DEADLINE_S, start)
        assert (await told(board))["reset_cause"] == "power on"


async def test_a_client_that_goes_without_a_word_does_not_keep_the_relay() -> None:
    async with Lab(ALONE) as lab:
        await lab.ready()
        board = lab.boards["relay"]
        board.write(b"\r\x03\r\x01")
        await board.wait_for_output(r"raw REPL; CTRL-B to exit\r\n>$", DEADLINE_S)
        board.write(b"print('half a prog")
        # A host that asks for the relay gets it back.
        assert (await told(board))["reset_cause"] == "power on"
        assert board.boots == 1


async def test_mpremote_in_the_boot_window_does_not_keep_the_relay_from_starting() -> None:
    async with Lab(ALONE) as lab:
        board = lab.boards["relay"]
        await board.wait_for_output("starting in 2 s", DEADLINE_S)
        assert await mpremote(board, "exec", "print('early')") == "early\n"
        assert (await told(board))["reset_cause"] == "power on" and board.boots == 1


async def test_a_mounted_directory_is_there_at_the_prompt(tmp_path: Path) -> None:
    (tmp_path / "here.py").write_text("print('from the computer')\n")
    async with Lab(ALONE) as lab:
        await lab.ready()
        board = lab.boards["relay"]
        # A program without a terminal cannot use mpremote's own prompt; what it does before is what counts.
        board.write(b"\r\x03\r\x01")
        await board.wait_for_output(r"raw REPL; CTRL-B to exit\r\n>$", DEADLINE_S)
        start = board.printed
        mount = b"import os, vfs\nvfs.mount(vfs.VfsLfs2(memory), '/remote')"
        memory = b"""
class Memory:
 def __init__(self):
  self.data = bytearray(4096 * 8)
 def readblocks(self, n, buf, offset=0):
  at = n * 512 + offset
  buf[:] = self.data[at:at + len(buf)]
 def writeblocks(self, n, buf, offset=0):
  at = n * 512 + offset
  self.data[at:at + len(buf)] = buf
 def ioctl(self, op, arg):
  return {4: 64, 5: 512, 6: 0}.get(op)
import vfs
memory = Memory()
vfs.VfsLfs2.mkfs(memory)
"""
        board.write(memory + mount + b"\x04")
        await board.wait_for_output("OK\x04\x04>$", DEADLINE_S, start)
        board.write(b"\r\x02")
        await board.wait_for_output(r">>> $", DEADLINE_S, start)
        board.write(b"import os; print(sorted(os.listdir('/')))\r")
        await board.wait_for_output("'remote'", DEADLINE_S, start)


@pytest.mark.parametrize("broken", ["/firmware/session.mpy", "/firmware/app.mpy"])
async def test_a_broken_program_leaves_mpremote_a_way_in(broken: str) -> None:
    async with Lab(ALONE) as lab:
        await lab.ready()
        board = lab.boards["relay"]
        await mpremote(board, "exec", f"with open('{broken}', 'wb') as f: f.write(b'nonsense')")
        start = board.printed
        await board.reboot()
        await board.wait_for_output("starting in 2 s", DEADLINE_S, start)
        assert await mpremote(board, "exec", "print('a way in')") == "a way in\n"
