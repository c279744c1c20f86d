"""The board's `bluetooth`, tried by short programs in real interpreters: events, errors and order of a real board."""

import asyncio
import contextlib
import os
import signal

import pytest
from bumble import core, hci
from bumble.core import UUID
from bumble.device import Device, Peer
from bumble.hci import Address
from bumble.host import Host

from bitrelay.lab.build import build_shim, find_interpreter
from bitrelay.lab.multitest import Outcome, find_tests, run_tests
from bitrelay.lab.nimble import NimbleHost
from bitrelay.lab.radio import Radio

DEADLINE_S = 15
CHARACTERISTIC = UUID("A1B2C3D4-E5F6-4A5B-8C9D-0E1F2A3B4C5D")

# What every program begins with.
PRELUDE = """
import sys
sys.path.insert(0, {shim!r})
import bluetooth_shim
bluetooth_shim.install({socket!r})
import bluetooth, time, machine, select, gc, micropython
ble = bluetooth.BLE()
SERVICE = bluetooth.UUID("F47B5E2D-4A9E-4C5A-9B3F-8E1D2C3A4B5C")
CHARACTERISTIC = bluetooth.UUID("A1B2C3D4-E5F6-4A5B-8C9D-0E1F2A3B4C5D")
FLAGS = bluetooth.FLAG_READ | bluetooth.FLAG_WRITE | bluetooth.FLAG_WRITE_NO_RESPONSE | bluetooth.FLAG_NOTIFY
events = []
def record(event, data):
    events.append((event,) + tuple(bytes(item) if isinstance(item, memoryview) else item for item in data))
def wait_for(event, timeout_ms=8000):
    start = time.ticks_ms()
    while time.ticks_diff(time.ticks_ms(), start) < timeout_ms:
        for i, found in enumerate(events):
            if found[0] == event:
                return events.pop(i)
        time.sleep_ms(5)
    raise ValueError("no event %d" % event)
def error_of(call, *args, **names):
    try:
        return call(*args, **names)
    except OSError as error:
        return error.errno
def serve(size=512, append=False):
    ((handle,),) = ble.gatts_register_services(((SERVICE, ((CHARACTERISTIC, FLAGS),)),))
    if size:
        ble.gatts_set_buffer(handle, size, append)
    return handle
"""

# For programs that have shown what they had to show, while their peers still want an answer.
LINGER = """
while True:
    time.sleep_ms(50)
"""


def within(awaitable):
    return asyncio.wait_for(awaitable, DEADLINE_S)


class VirtualBoard:
    """A node with a NimBLE host, and the interpreters that come and go on it."""

    def __init__(self, bench, name, address):
        self.bench = bench
        self.socket = str(bench.directory / name)
        self.host = NimbleHost(bench.radio.add(name, address))
        self.process = None

    async def run(self, program):
        code = PRELUDE.format(shim=str(self.bench.shim), socket=self.socket) + program
        self.process = await asyncio.create_subprocess_exec(
            str(find_interpreter().path),
            "-X",
            "heapsize=192k",
            "-c",
            code,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self.bench.directory,
        )
        return self

    async def line(self):
        return (await within(self.process.stdout.readline())).decode().rstrip("\n")

    async def lines(self):
        """All it prints until it ends."""
        text = (await within(self.process.stdout.read())).decode()
        await within(self.process.wait())
        return text.splitlines()

    def signal(self, number):
        os.kill(self.process.pid, number)

    async def end(self):
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.signal(signal.SIGKILL)
            await self.process.wait()


class Bench:
    def __init__(self, directory, shim):
        self.directory = directory
        self.shim = shim
        self.radio = Radio(seed=1)
        self.boards = []

    async def board(self, name="board", address="F0:00:00:00:00:01"):
        board = VirtualBoard(self, name, address)
        self.boards.append(board)
        await board.host.serve(board.socket)
        return board

    async def phone(self, number):
        address = Address(f"F0:00:00:00:01:{number:02X}")
        controller = self.radio.add(f"phone{number}", str(address)[:17], random_address=True)
        phone = Device(name=f"phone{number}", address=address, host=Host(controller, controller))
        await phone.power_on()
        return phone

    async def connected_phone(self, number, address="F0:00:00:00:00:01"):
        phone = await self.phone(number)
        peer = Peer(await within(phone.connect(Address(address, Address.PUBLIC_DEVICE_ADDRESS), timeout=DEADLINE_S)))
        await within(peer.request_mtu(517))
        await within(peer.discover_services())
        await within(peer.discover_characteristics())
        return peer, peer.get_characteristics_by_uuid(CHARACTERISTIC)[0]

    async def close(self):
        for board in self.boards:
            await board.end()
            await board.host.close()
        self.radio.close()


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    directory = tmp_path_factory.mktemp("shim")
    build_shim(directory, find_interpreter())
    return directory


@pytest.fixture
async def bench(tmp_path, shim):
    bench = Bench(tmp_path, shim)
    yield bench
    await bench.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_errors_carry_the_numbers_of_an_esp32(bench):
    board = await bench.board()
    await board.run("""
ADDRESS = b"\\xf0\\x00\\x00\\x00\\x00\\x77"
print("off", error_of(ble.gap_advertise, 100000), error_of(ble.gap_scan), error_of(ble.gatts_notify, 0, 1, b""))
print(ble.active(), ble.active(True))
print("mtu", ble.config("mtu"), [error_of(ble.config, mtu=mtu) for mtu in (22, 528, 517)])
print("adv", error_of(ble.gap_advertise, 100000, bytes(32)), error_of(ble.gap_advertise, 10_000))
handle = serve()
print("write", error_of(ble.gatts_write, 999, b"x"), error_of(ble.gatts_set_buffer, 999, 9), ble.gatts_read(999))
print("conn", error_of(ble.gatts_notify, 0, handle, b"x"), error_of(ble.gattc_read, 0, 1), ble.gap_disconnect(0))
print("cancel", error_of(ble.gap_connect, None))
ble.gap_scan(0)
print("scan", error_of(ble.gap_scan, 0))
print("connect", [error_of(ble.gap_connect, 0, ADDRESS) for _ in range(2)], error_of(ble.gap_scan, 0))
ble.gap_connect(None)
ble.gap_advertise(100000)
print("register", error_of(ble.gatts_register_services, ()))
for bad in (lambda: ble.config("rxbuf"), lambda: ble.irq(5), lambda: bluetooth.UUID("123"), lambda: ble.config()):
    try:
        bad()
    except (ValueError, TypeError) as error:
        print(type(error).__name__, error)
""")
    assert await board.lines() == [
        "off 19 19 19",
        "False True",
        "mtu 256 [22, 22, None]",
        "adv -18 -530",
        "write 22 22 b''",
        "conn 128 128 False",
        "cancel 120",
        "scan 120",
        "connect [None, 120] 16",
        "register 16",
        "ValueError unknown config param",
        "ValueError invalid handler",
        "ValueError UUID too short",
        "TypeError must query one param",
    ]


async def test_a_connection_that_is_not_made_is_reported_with_handle_65535(bench):
    board = await bench.board()
    await board.run("""
ble.irq(record)
ble.active(True)
ble.gap_connect(0, b"\\xf0\\x00\\x00\\x00\\x00\\x77", 100)
print(wait_for(8))
ble.gap_connect(0, b"\\xf0\\x00\\x00\\x00\\x00\\x77", 5000)
ble.gap_connect(None)
print(wait_for(8))
""")
    assert await board.lines() == ["(8, 65535, 255, b'\\x00\\x00\\x00\\x00\\x00\\x00')"] * 2


async def test_stopping_a_scan_ends_it_before_the_call_returns(bench):
    board = await bench.board()
    await board.run("""
ble.irq(record)
ble.active(True)
ble.gap_scan(0, 30000, 30000)
ble.gap_scan(None)
print(events)
ble.gap_scan(None)
print(events)
events.clear()
ble.gap_scan(50, 30000, 30000)
print(len(events), wait_for(6), len(events))
""")
    assert await board.lines() == ["[(6,)]", "[(6,)]", "0 (6,) 0"]


# Every write is in the buffer when its handler runs, and the next one is not.
ECHO = """
seen = []
def on_event(event, data):
    if event == 3:
        seen.append(bytes(ble.gatts_read(data[1])))
    elif event == 2:
        seen.append(None)
        ble.gap_advertise(30000)
ble.irq(on_event)
ble.active(True)
ble.config(mtu=517)
handle = serve()
ble.gap_advertise(30000, b"\\x02\\x01\\x06")
print("ready", handle)
"""


async def test_each_write_is_handled_before_the_next_is_applied(bench):
    board = await bench.board()
    await board.run(
        ECHO
        + """
while None not in seen:
    time.sleep_ms(5)
print(len(seen) - 1, [i for i, value in enumerate(seen[:-1]) if value != bytes([i]) * (i * 5)])
"""
    )
    assert await board.line() == "ready 16"
    peer, remote = await bench.connected_phone(1)
    for number in range(100):
        await remote.write_value(bytes([number]) * (number * 5), with_response=False)
    await remote.write_value(bytes([100]) * 500, with_response=True)
    await within(peer.connection.disconnect())
    assert await board.lines() == ["101 []"]


@pytest.mark.parametrize(
    "wait",
    [
        "time.sleep_ms(5)",
        "time.sleep(0.005)",
        "time.sleep_us(5000)",
        "machine.idle()",
        "time.ticks_ms()",
        "select.select([], [], [], 0.005)",
        "[x for x in poller.ipoll(5)]",
        "poller.poll(5)",
    ],
)
async def test_events_reach_code_that_waits(bench, wait):
    board = await bench.board()
    await board.run(
        ECHO
        + f"""
poller = select.poll()
poller.register(sys.stdin, 1)
while not seen:
    {wait}
print(seen[0])
"""
    )
    await board.line()
    _peer, remote = await bench.connected_phone(1)
    await remote.write_value(b"hello", with_response=False)
    assert await board.line() == "b'hello'"


async def test_a_flag_set_by_a_handler_wakes_asyncio_at_once_and_stdin_still_works(bench):
    board = await bench.board()
    await board.run(
        ECHO
        + """
import asyncio
flag = asyncio.ThreadSafeFlag()
waited = []
def on_event(event, data):
    if event == 3:
        waited.append(time.ticks_us())
        flag.set()
ble.irq(on_event)
async def main():
    reader = asyncio.StreamReader(sys.stdin)
    late = []
    for _ in range(21):
        await flag.wait()
        late.append(time.ticks_diff(time.ticks_us(), waited[-1]))
        print("woken")
    # Most of the time, whatever else the computer does: a flag that the next round alone looks at is late by 20 ms.
    print(sorted(late)[10] < 5000)
    print(await reader.readline())
    await asyncio.sleep_ms(1)
    print("slept")
asyncio.run(main())
"""
    )
    await board.line()
    _peer, remote = await bench.connected_phone(1)
    for _ in range(21):
        await remote.write_value(b"hello", with_response=True)
        assert await board.line() == "woken"
    assert await board.line() == "True"
    board.process.stdin.write(b"typed\n")
    assert await board.lines() == ["b'typed\\n'", "slept"]


async def test_what_a_handler_raises_is_printed_and_the_handler_is_called_no_more(bench):
    board = await bench.board()
    await board.run("""
def on_event(event, data):
    print("event", event)
    return 1 // 0
ble.irq(on_event)
ble.active(True)
ble.gap_scan(20)
time.sleep_ms(60)
ble.gap_scan(20)
time.sleep_ms(60)
print("end")
""")
    lines = await board.lines()
    assert lines[:2] == ["event 6", "Unhandled exception in IRQ callback handler"]
    assert [line for line in lines if line.startswith(("event", "ZeroDivisionError", "end"))][1:] == [
        "ZeroDivisionError: divide by zero",
        "end",
    ]


async def test_handlers_do_not_nest_and_calls_from_within_them_work(bench):
    board = await bench.board()
    await board.run("""
depth = 0
log = []
def on_event(event, data):
    global depth
    depth += 1
    log.append((event, depth))
    if len(log) == 1:
        ble.gap_scan(0)
        ble.gap_scan(None)
        time.sleep_ms(20)
        machine.idle()
    depth -= 1
ble.irq(on_event)
ble.active(True)
ble.gap_scan(20)
time.sleep_ms(100)
print(log)
""")
    assert await board.lines() == ["[(6, 1), (6, 1)]"]


async def test_buffers_are_reused_for_the_next_event(bench):
    board = await bench.board()
    await board.run("""
kept = []
def on_event(event, data):
    if event == 5:
        kept.append((data[4], bytes(data[4])))
ble.irq(on_event)
ble.active(True)
print("ready")
ble.gap_scan(0, 30000, 30000)
while len({copy for _, copy in kept}) < 2:
    time.sleep_ms(5)
ble.active(False)
print([bytes(view) == copy for view, copy in kept].count(False) > 0)
""")
    await board.line()
    for number, data in ((1, b"\x02\x01\x06"), (2, b"\x02\x01\x05")):
        phone = await bench.phone(number)
        await phone.start_advertising(advertising_data=data, advertising_interval_min=30, advertising_interval_max=30)
    assert await board.lines() == ["True"]


@pytest.mark.parametrize("append, expected", [(False, b"third"), (True, b"firstsecondt")])
async def test_a_buffer_holds_the_last_write_or_with_append_all_of_them(bench, append, expected):
    board = await bench.board()
    await board.run(
        f"""
ble.irq(record)
ble.active(True)
handle = serve(12, {append})
ble.gap_advertise(30000)
print("ready")
for _ in range(3):
    wait_for(3)
print(ble.gatts_read(handle), ble.gatts_read(handle))
"""
        + LINGER
    )
    await board.line()
    _peer, remote = await bench.connected_phone(1)
    for value in (b"first", b"second", b"third"):
        await remote.write_value(value, with_response=True)
    assert await board.line() == f"{expected} {b'' if append else expected}"


async def test_a_buffer_that_was_not_enlarged_holds_20_bytes(bench):
    board = await bench.board()
    await board.run(
        """
ble.irq(record)
ble.active(True)
handle = serve(0)
ble.gap_advertise(30000)
print("ready")
wait_for(3)
print(len(ble.gatts_read(handle)), ble.gatts_write(handle, bytes(100)), len(ble.gatts_read(handle)))
"""
        + LINGER
    )
    await board.line()
    _peer, remote = await bench.connected_phone(1)
    await remote.write_value(bytes(60), with_response=True)
    assert await board.line() == "20 100 100"


async def test_a_reader_gets_what_the_handler_of_its_request_leaves(bench):
    board = await bench.board()
    await board.run("""
reads = 0
def on_event(event, data):
    global reads
    if event == 4:
        reads += 1
        ble.gatts_write(data[1], b"read %d" % reads)
        return 0 if reads < 3 else 5
ble.irq(on_event)
ble.active(True)
handle = serve()
ble.gap_advertise(30000)
print("ready")
while True:
    time.sleep_ms(50)
""")
    await board.line()
    _peer, remote = await bench.connected_phone(1)
    assert await within(remote.read_value()) == b"read 1"
    assert await within(remote.read_value()) == b"read 2"
    with pytest.raises(core.ProtocolError) as refused:
        await within(remote.read_value())
    assert refused.value.error_code == 5


async def test_buffers_run_out_and_come_back(bench):
    board = await bench.board()
    await board.run("""
ble.irq(record)
ble.active(True)
ble.config(mtu=517)
handle = serve()
ble.gap_advertise(30000)
print("ready")
conn = wait_for(1)[1]
wait_for(21)
wait_for(3)
sent = failed = in_handler = 0
numbers = set()
while sent < 100:
    try:
        ble.gatts_notify(conn, handle, bytes([sent]) * 500)
        sent += 1
    except OSError as error:
        numbers.add(error.errno)
        failed += 1
        time.sleep_ms(1)
print(sent, failed > 0, numbers)
wait_for(3)
print("end")
""")
    await board.line()
    _peer, remote = await bench.connected_phone(1)
    values = asyncio.Queue()
    await within(remote.subscribe(lambda value: values.put_nowait(bytes(value))))
    await remote.write_value(b"go", with_response=True)
    assert [(await within(values.get()))[:2] for _ in range(100)] == [bytes([n, n]) for n in range(100)]
    assert await board.line() == "100 True {12}"


async def test_a_notification_needs_no_subscription_and_is_cut_to_the_mtu(bench):
    board = await bench.board()
    await board.run("""
ble.irq(record)
ble.active(True)
ble.config(mtu=100)
handle = serve()
ble.gap_advertise(30000)
print("ready")
conn = wait_for(1)[1]
print(wait_for(21))
wait_for(3)
ble.gatts_notify(conn, handle, bytes(300))
ble.gatts_write(handle, b"nobody subscribed", True)
wait_for(3)
print("end")
while True:
    time.sleep_ms(50)
""")
    await board.line()
    peer, remote = await bench.connected_phone(1)
    assert await board.line() == "(21, 0, 100)"
    values = asyncio.Queue()
    # What Bumble does when a notification comes, without the write that subscribes.
    peer.gatt_client.notification_subscribers[remote.handle] = {lambda value: values.put_nowait(bytes(value))}
    await remote.write_value(b"go", with_response=True)
    assert await within(values.get()) == bytes(97)
    await remote.write_value(b"end", with_response=True)
    assert await board.line() == "end"
    assert values.empty()


async def test_a_busy_board_makes_the_sender_wait(bench):
    board = await bench.board()
    await board.run(
        ECHO
        + """
count = 0
def slow(event, data):
    global count
    if event == 3:
        if not count:
            print("busy")
            time.sleep_ms(1500)
            print("done")
        count += 1
ble.irq(slow)
while count < 100:
    time.sleep_ms(5)
print(count)
"""
    )
    await board.line()
    peer, remote = await bench.connected_phone(1)
    for _ in range(100):
        await remote.write_value(bytes(500), with_response=False)
    assert await board.line() == "busy"
    assert await board.line() == "done"
    # Three packets each; a second and a half of air would have carried them all.
    assert peer.connection.device.host.le_acl_packet_queue.pending > 200
    assert await board.line() == "100"


async def test_an_interrupted_program_still_has_its_radio(bench):
    board = await bench.board()
    await board.run(
        ECHO
        + """
for _ in range(3):
    try:
        print("waiting")
        while True:
            time.sleep_ms(1000)
    except KeyboardInterrupt:
        print("interrupted")
while not seen:
    time.sleep_ms(5)
print(seen)
"""
        + LINGER
    )
    await board.line()
    _peer, remote = await bench.connected_phone(1)
    for _ in range(3):
        assert await board.line() == "waiting"
        board.signal(signal.SIGINT)
        assert await board.line() == "interrupted"
    await remote.write_value(b"hello", with_response=True)
    assert await board.line() == "[b'hello']"


async def test_a_board_whose_power_is_cut_says_nothing_and_the_next_program_finds_a_fresh_radio(bench):
    board = await bench.board()
    await board.run(ECHO + LINGER)
    await board.line()
    peer, _remote = await bench.connected_phone(1)
    reason = asyncio.get_running_loop().create_future()
    peer.connection.on("disconnection", reason.set_result)
    board.signal(signal.SIGKILL)
    await board.process.wait()
    await board.run(
        "print(ble.active(), ble.active(True), serve())\nble.gap_advertise(30000)\nwhile True:\n    time.sleep_ms(50)\n"
    )
    assert await board.line() == "False True 16"
    assert await within(reason) == hci.HCI_CONNECTION_TIMEOUT_ERROR
    again, _remote = await bench.connected_phone(2)
    await within(again.connection.disconnect())


async def test_switching_off_says_goodbye(bench):
    board = await bench.board()
    await board.run(
        ECHO
        + """
while not seen:
    time.sleep_ms(5)
ble.active(False)
print(seen, ble.active())
"""
    )
    await board.line()
    peer, remote = await bench.connected_phone(1)
    reason = asyncio.get_running_loop().create_future()
    peer.connection.on("disconnection", reason.set_result)
    await remote.write_value(b"off", with_response=False)
    assert await within(reason) == hci.HCI_REMOTE_USER_TERMINATED_CONNECTION_ERROR
    assert await board.lines() == ["[b'off'] False"]


async def test_a_board_with_four_links_refuses_a_fifth_and_keeps_the_four(bench):
    board = await bench.board()
    await board.run("""
ble.irq(record)
ble.active(True)
handle = serve()
links = []
def advertise():
    return error_of(ble.gap_advertise, 30000, b"\\x02\\x01\\x06")
print("ready", advertise())
while len(links) < 4:
    links.append(wait_for(1)[1])
    print(links[-1], advertise())
print("connect", error_of(ble.gap_connect, 0, b"\\xf0\\x00\\x00\\x00\\x00\\x77"))
print(error_of(ble.gap_advertise, 30000, connectable=False))
ble.gap_disconnect(links[0])
print(wait_for(2)[1], advertise())
print(wait_for(1)[1])
while True:
    time.sleep_ms(50)
""")
    assert await board.line() == "ready None"
    peers = []
    for number in range(4):
        peers.append((await bench.connected_phone(number))[0])
        assert await board.line() == f"{number} {None if number < 3 else 12}"
    assert await board.line() == "connect 12"
    late = await bench.connected_phone(9)
    assert [await board.line() for _ in range(3)] == ["None", "0 None", "0"]
    assert late[0].connection.handle in late[0].connection.device.connections


async def test_two_boards_find_each_other_and_talk_both_ways(bench):
    peripheral = await bench.board("peripheral", "F0:00:00:00:00:01")
    central = await bench.board("central", "F0:00:00:00:00:02")
    await peripheral.run("""
ble.irq(record)
ble.active(True)
ble.config(mtu=517)
handle = serve()
ble.gap_advertise(30000, b"\\x02\\x01\\x06", resp_data=b"\\x04\\xffabc")
print("ready")
conn = wait_for(1)[1]
print(wait_for(3), ble.gatts_read(handle)[:3])
ble.gatts_notify(conn, handle, b"n" * 500)
print(wait_for(2))
""")
    await peripheral.line()
    await central.run("""
ble.irq(record)
ble.active(True)
ble.config(mtu=517)
ble.gap_scan(0, 30000, 30000, True)
found = wait_for(5)
response = wait_for(5)
print(found[1:4], found[5], response[3], response[5])
ble.gap_connect(found[1], found[2])
conn = wait_for(7)[1]
ble.gattc_exchange_mtu(conn)
print(wait_for(21), error_of(ble.gattc_exchange_mtu, conn), error_of(ble.gap_connect, found[1], found[2]))
ble.gattc_discover_services(conn, SERVICE)
service = wait_for(9)
print(service, wait_for(10))
ble.gattc_discover_characteristics(conn, service[2], service[3])
print(error_of(ble.gattc_discover_characteristics, conn, 1, 0xffff))
print(wait_for(11), wait_for(12))
ble.gattc_discover_descriptors(conn, 16, service[3])
print(wait_for(13), wait_for(14))
ble.gattc_write(conn, 17, b"\\x01\\x00", 1)
print(wait_for(17))
ble.gattc_write(conn, 99, b"x", 1)
ble.gattc_read(conn, 99)
print(wait_for(17), wait_for(16))
ble.gattc_write(conn, 16, b"w" * 500)
note = wait_for(18)
print(note[:3], len(note[3]))
ble.gap_disconnect(conn)
print(error_of(ble.gap_disconnect, conn), wait_for(8)[:2])
""")
    uuids = "UUID('f47b5e2d-4a9e-4c5a-9b3f-8e1d2c3a4b5c')", "UUID('a1b2c3d4-e5f6-4a5b-8c9d-0e1f2a3b4c5d')"
    assert await central.lines() == [
        "(0, b'\\xf0\\x00\\x00\\x00\\x00\\x01', 0) b'\\x02\\x01\\x06' 4 b'\\x04\\xffabc'",
        "(21, 0, 517) 120 5",
        f"(9, 0, 14, 17, {uuids[0]}) (10, 0, 0)",
        "16",
        f"(11, 0, 17, 16, 30, {uuids[1]}) (12, 0, 0)",
        "(13, 0, 17, UUID(0x2902)) (14, 0, 0)",
        "(17, 0, 17, 0)",
        "(17, 0, 99, 257) (16, 0, 99, 257)",
        "(18, 0, 16) 500",
        "120 (8, 0)",
    ]
    assert await peripheral.lines() == ["(3, 0, 16) b'www'", "(2, 0, 0, b'\\xf0\\x00\\x00\\x00\\x00\\x02')"]


async def test_a_hostile_peer_gets_errors_and_the_board_lives_on(bench):
    board = await bench.board()
    await board.run(ECHO + LINGER)
    await board.line()
    peer, remote = await bench.connected_phone(1)
    connection = peer.connection
    for number in range(2000):
        length = bench.radio.random.randrange(30)
        pdu = bytes([number & 0xFF]) + bench.radio.random.randbytes(length)
        if pdu[0] != 0x02:
            connection.device.send_l2cap_pdu(connection.handle, 4, pdu)
    for channel in (5, 6, 0x40):
        connection.device.send_l2cap_pdu(connection.handle, channel, b"\x12\x01")
        connection.device.send_l2cap_pdu(connection.handle, channel, b"")
    await within(connection.device.host.le_acl_packet_queue.drain(connection.handle))
    await within(connection.disconnect())
    again, remote = await bench.connected_phone(2)
    await within(remote.write_value(b"still there", with_response=True))


async def test_the_heap_stays_flat_over_thousands_of_events(bench):
    board = await bench.board()
    await board.run(
        ECHO
        + """
count = 0
def on_event(event, data):
    global count, conn
    if event == 1:
        conn = data[0]
    elif event == 3:
        count += 1
        ble.gatts_notify(conn, data[1], b"ok") if count % 10 == 0 else None
ble.irq(on_event)
used = []
for goal in (200, 1200):
    while count < goal:
        time.sleep_ms(5)
    gc.collect()
    used.append(gc.mem_alloc())
print(used[1] - used[0])
"""
    )
    await board.line()
    _peer, remote = await bench.connected_phone(1)
    for _ in range(1250):
        await remote.write_value(bytes(20), with_response=False)
    assert abs(int(await board.line())) < 500


async def test_multi_instance_tests_run_and_are_compared(tmp_path, capsys):
    test = tmp_path / "hello.py"
    test.write_text("""
import bluetooth
def instance0():
    multitest.globals(MAC=ble.config("mac"))
    multitest.next()
    multitest.broadcast("go")
    multitest.wait("gone")
    print("end")
def instance1():
    multitest.next()
    multitest.wait("go")
    print(MAC)
    multitest.broadcast("gone")
ble = bluetooth.BLE()
ble.active(1)
""")
    expected = tmp_path / "hello.py.exp"
    expected.write_text("--- instance0 ---\nend\n--- instance1 ---\n(0, b'\\xf0\\xf1\\xf2\\xf3\\xf4\\x01')\n")
    micropython = str(find_interpreter().path)
    assert [r.outcome for r in await run_tests(find_tests(tmp_path, []), micropython)] == [Outcome.PASS]
    expected.write_text("--- instance0 ---\n")
    assert [r.outcome for r in await run_tests(find_tests(tmp_path, ["hello"]), micropython)] == [Outcome.FAIL]
    test.write_text("ble.l2cap_listen()")
    assert [r.outcome for r in await run_tests(find_tests(tmp_path, []), micropython)] == [Outcome.NOT_OFFERED]
    assert "hello: pass" in capsys.readouterr().out
