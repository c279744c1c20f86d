"""A running lab: boards, phones and the air between them, brought up from a scenario and taken down without a trace."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from bitrelay import ports
from bitrelay.boards.compile import board_files
from bitrelay.errors import DeviceError, DeviceTimeout
from shared_protocol.frame import MAX_TTL, TYPE

from .board import Board, BoardState
from .board_radio import join_radio, socket_directory
from .build import Interpreter, build_shim, find_interpreter
from .controller import RadioController
from .directory import claimed_directory
from .event import Event, EventKind, of_fault
from .flash_contents import write_all
from .hci_server import HciServer
from .ledger import Ledger, Report
from .nor_flash import NorFlash
from .phone import Phone
from .radio import Radio
from .reach import hops, neighbors
from .scenario import BoardSpec, Fault, FaultKind, Position, Scenario
from .stand_in import FULL_SIZE, SMALL_SIZE, build_firmware, version_of
from .traffic import PROBE_TYPE, book_arrivals, probe_of, run_flow
from .waiting import together

# Room for a boot window, for links to be found one after the other, and for a slow machine.
READY_S = 60.0

_LOOK_EVERY_S = 0.05
_PROBE_S = 0.5
_MOVES_PER_S = 5.0


@dataclass(frozen=True)
class LinkView:
    """A connection between two nodes; ready once the peripheral's notifications are wanted."""

    a: str
    b: str
    ready: bool


class Lab:
    """`async with Lab(scenario) as lab:` gives boards and phones that have been switched on.

    micropython names another interpreter than the installed one. With advertise the boards' ports are told to
    `bitrelay devices`. Boards have the relay's program and their settings on their flash, or with blank nothing: they
    then wait for somebody who flashes them, with the file that firmware() gives. events has what happened and was not
    read yet. Whatever happens, leaving ends every process and removes every file.
    """

    def __init__(
        self, scenario: Scenario, *, micropython: Path | None = None, advertise: bool = True, blank: bool = False
    ) -> None:
        self.scenario = scenario
        self.boards: dict[str, Board] = {}
        self.phones: dict[str, Phone] = {}
        self.ledger = Ledger()
        self.radio: Radio
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self._micropython = micropython
        self._advertise = advertise
        self._blank = blank
        self._directory: Path
        self._interpreter: Interpreter
        self._exit = AsyncExitStack()
        self._positions: dict[str, Position] = {}

    async def __aenter__(self) -> Self:
        try:
            await self._bring_up()
        except BaseException:
            await self._exit.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exit.aclose()

    @property
    def directory(self) -> Path:
        """Where its files are, its owner's alone; it goes with the lab."""
        return self._directory

    # --- up ---

    async def _bring_up(self) -> None:
        scenario = self.scenario
        self._interpreter = find_interpreter(self._micropython)
        self._directory = self._exit.enter_context(claimed_directory())
        self.radio = Radio(scenario.seed, scenario.loss, scenario.exponent)
        self._exit.callback(self.radio.close)
        if scenario.boards:
            build_shim(self._directory / ".shim", self._interpreter)
        self._positions = {
            **{board.name: board.position for board in scenario.boards if board.position},
            **{phone.name: phone.position for phone in scenario.phones if phone.position},
        }
        # Everybody gets a place on the map before anybody speaks.
        for number, spec in enumerate(scenario.boards, 1):
            self.boards[spec.name] = self._make_board(spec, number)
        for phone in scenario.phones:
            self.phones[phone.name] = Phone(
                phone.name,
                self.radio,
                platform=phone.platform,
                position=phone.position,
                seed=scenario.seed,
                announce=phone.announce,
                pace=phone.pace,
                announce_pace=phone.announce_pace,
                clock_offset_s=phone.clock_offset_s,
            )
        for edge in scenario.edges:
            self.radio.connect_edge(edge.a, edge.b, edge.rssi)
        book_arrivals(self.phones.values(), self.ledger)
        for board in self.boards.values():
            self._exit.push_async_callback(board.close)
            await board.start()
        if self._advertise and self.boards:
            server = HciServer(self.radio, self._place_computer)
            self._exit.push_async_callback(server.close)
            sockets = self._exit.enter_context(socket_directory(self._directory))
            radio = await server.open(sockets)
            self._exit.callback(ports.withdraw)
            ports.advertise(
                (
                    ports.BoardPort(b.name, b.port, b.url, b.chip, str(self.firmware(b.chip)))
                    for b in self.boards.values()
                ),
                radio,
            )
        for virtual_phone in self.phones.values():
            self._exit.push_async_callback(virtual_phone.stop)
            await virtual_phone.start()

    def _place_computer(self, name: str) -> None:
        # Whoever looks into the lab from another process stands where all boards can be heard.
        if self.scenario.edges:
            for board in self.boards:
                self.radio.connect_edge(name, board)
            return
        places = [self._positions.get(board, (0.0, 0.0)) for board in self.boards]
        self.radio.move(name, *(sum(axis) / len(places) for axis in zip(*places, strict=True)))

    def firmware(self, chip: str) -> Path:
        """The file that stands in for MicroPython's firmware on boards with this chip; it goes with the lab."""
        path = self._directory / f"{chip}.bin"
        if not path.exists():
            path.write_bytes(build_firmware(chip, version_of(self._interpreter), FULL_SIZE))
        return path

    def _make_board(self, spec: BoardSpec, number: int) -> Board:
        home = self._directory / spec.name
        home.mkdir()
        address = bytes((0xF0, 0xF1, 0xF2, 0xF3, 0xF4, number))
        controller = self.radio.add(
            spec.name, ":".join(f"{byte:02X}" for byte in address), spec.position, max_links=spec.max_links
        )
        sockets = self._exit.enter_context(socket_directory(home))
        board = Board(
            spec.name,
            home,
            self._interpreter,
            self._directory / ".shim",
            self._make_flash(spec, home),
            chip=spec.chip,
            bluetooth=join_radio(controller, self.radio, self._interpreter, sockets),
            controller=controller,
            unique_id=address,
            heap=spec.heap,
        )
        board.on_restart = lambda why: self._tell(EventKind.RESTARTED, board, f"restarted: {why}")
        board.on_failure = lambda why: self._tell(EventKind.FAILED, board, f"given up: {why}")
        return board

    def _make_flash(self, spec: BoardSpec, home: Path) -> NorFlash:
        flash = NorFlash(home / "flash.bin")
        if not self._blank:
            # Straight onto the flash: over a serial port each board would take seconds.
            files = board_files(self._interpreter.arch) | {"/settings.json": settings_of(spec)}
            write_all(flash, spec.chip, build_firmware(spec.chip, version_of(self._interpreter), SMALL_SIZE), files)
        return flash

    def _tell(self, kind: EventKind, board: Board, what: str) -> None:
        self.events.put_nowait(Event(kind, board.name, what))

    # --- ready ---

    async def ready(self, timeout: float = READY_S, probe: bool = True) -> None:
        """Wait until all boards run and everybody who can hear a relay with room is linked to the mesh.

        With probe the phones then send one another small frames of a type that means nothing, until each has heard all
        that it can: a relay's program needs a moment before it uses a new link. What the phones have received is
        forgotten. Raises DeviceTimeout, or DeviceError for a board that gave up, with its last output.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while trouble := self._trouble():
            if loop.time() > end:
                raise self._not_ready(*trouble, timeout)
            await asyncio.sleep(_LOOK_EVERY_S)
        while probe and (deaf := await self._deaf_pairs()):
            if loop.time() > end:
                raise self._not_ready(deaf[0][1], f"hears nothing of {deaf[0][0]}", timeout)
        for phone in self.phones.values():
            phone.received.clear()

    async def _deaf_pairs(self) -> list[tuple[str, str]]:
        # One round: everybody speaks, and a moment later some may not have heard somebody.
        near = neighbors((link.a, link.b) for link in self.links() if link.ready)
        awaited = {
            (phone.name, other): phone.identity.peer_id
            for phone in self.phones.values()
            for other, relays in hops(phone.name, near, self.boards).items()
            if other in self.phones and other != phone.name and relays < MAX_TTL
        }
        await asyncio.gather(*(self.phones[name].send(probe_of(self.phones[name])) for name, _ in awaited))
        end = asyncio.get_running_loop().time() + _PROBE_S
        while asyncio.get_running_loop().time() < end:
            awaited = {pair: author for pair, author in awaited.items() if not _has_heard(self.phones[pair[1]], author)}
            if not awaited:
                break
            await asyncio.sleep(_LOOK_EVERY_S)
        return list(awaited)

    def links(self) -> list[LinkView]:
        """Who is connected with whom now."""
        names = {bytes(c.own_address): name for name, c in self._controllers()}
        found = []
        for name, controller in self._controllers():
            for address, connection in controller.le_connections.items():
                peer = names.get(bytes(address))
                if peer is not None and connection.role == 1:
                    found.append(LinkView(name, peer, self._is_subscribed(name, bytes(address))))
        return found

    def _trouble(self) -> tuple[str, str] | None:
        # (who, what) keeps the lab from being ready.
        for board in self.boards.values():
            if board.state is BoardState.FAILED:
                raise DeviceError(f"{board.failure}; it printed {board.tail()!r}", device=board.name)
            if board.state is BoardState.RUNNING and not board.is_on_air:
                return board.name, "its program did not switch the radio on"
        near = neighbors((link.a, link.b) for link in self.links() if link.ready)
        for a, b in self._who_could_hear():
            if b not in hops(a, near, self.boards):
                return a, f"has no way to {b}, which it hears"
        return None

    def _who_could_hear(self) -> Iterator[tuple[str, str]]:
        up = self._nodes_up()
        for a in up:
            near = [b for b in up if b in self.boards and b != a and self.radio.rssi(a, b) is not None]
            # Of a phone nobody can expect more than that it finds a relay with room. A link that is being opened takes
            # up room already.
            if a in self.boards:
                yield from ((a, b) for b in near)
            elif not self.phones[a].open_links:
                yield from ((a, b) for b in near if self.boards[b].has_free_link or self.phones[a].links)

    def _nodes_up(self) -> list[str]:
        boards = [name for name, board in self.boards.items() if board.state is BoardState.RUNNING]
        return boards + [name for name, phone in self.phones.items() if phone.is_on]

    def _not_ready(self, who: str, what: str, timeout: float) -> DeviceTimeout:
        board = self.boards.get(who)
        said = f"; its last output was {board.tail()!r}" if board else ""
        return DeviceTimeout(f"not ready within {timeout:g} s: {what}{said}", device=who)

    def _controllers(self) -> Iterator[tuple[str, RadioController]]:
        for board in self.boards.values():
            if board.controller is not None:
                yield board.name, board.controller
        for phone in self.phones.values():
            yield phone.name, phone.controller

    def _is_subscribed(self, peripheral: str, central: bytes) -> bool:
        board = self.boards.get(peripheral)
        if board is not None:
            return board.bluetooth is not None and central in board.bluetooth.subscribed()
        return any(
            link.is_open and bytes(link.connection.peer_address) == central for link in self.phones[peripheral].links
        )

    # --- what happens ---

    async def play(self) -> Report:
        """Run the scenario's traffic and faults to their end; returns the ledger's account."""
        flows = [run_flow(flow, self.phones, self.ledger, self.scenario.seed) for flow in self.scenario.traffic]
        await together(*flows, self.run_faults())
        return self.ledger.report()

    async def run_faults(self) -> None:
        """Do what the scenario says, each thing at its time from now."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        await together(*(self._at(start + fault.at, fault) for fault in self.scenario.faults))

    async def apply(self, fault: Fault) -> None:
        """Do one thing to the lab now."""
        self.events.put_nowait(of_fault(fault))
        board, phone = self.boards.get(fault.node), self.phones.get(fault.node)
        match fault.kind:
            case FaultKind.KILL if board:
                await board.kill()
            case FaultKind.START if board:
                await board.start()
            case FaultKind.REBOOT if board:
                await board.reboot()
            case FaultKind.FREEZE if board:
                board.freeze()
            case FaultKind.THAW if board:
                board.thaw()
            case FaultKind.KILL if phone:
                await phone.stop()
            case FaultKind.START if phone:
                await phone.start()
            case FaultKind.REBOOT if phone:
                await phone.stop()
                await phone.start()
            case FaultKind.MOVE:
                await self._move(fault)
            case FaultKind.JAM | FaultKind.UNJAM:
                self.radio.jam(*fault.between, on=fault.kind is FaultKind.JAM)
            case FaultKind.LOSS:
                self.radio.set_loss(fault.loss)

    async def _move(self, fault: Fault) -> None:
        start = self._positions.get(fault.node, (0.0, 0.0))
        steps = max(1, round(fault.over * _MOVES_PER_S))
        for step in range(1, steps + 1):
            part = step / steps
            x, y = (a + (b - a) * part for a, b in zip(start, fault.position, strict=True))
            self.radio.move(fault.node, x, y)
            self._positions[fault.node] = (x, y)
            if step < steps:
                await asyncio.sleep(fault.over / steps)

    async def _at(self, when: float, fault: Fault) -> None:
        await asyncio.sleep(max(0.0, when - asyncio.get_running_loop().time()))
        await self.apply(fault)


def settings_of(spec: BoardSpec) -> bytes:
    """The settings file of a board of a scenario."""
    return json.dumps({"name": spec.name, "max_links": spec.max_links} | dict(spec.settings)).encode()


def _has_heard(phone: Phone, author: bytes) -> bool:
    return any(arrival.frame[TYPE] == PROBE_TYPE and author in arrival.frame for arrival in phone.received)
