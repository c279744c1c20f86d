"""`bitrelay lab`: virtual relays and phones, to try things without hardware."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import BrokenInstallation, ExitCode
from .options import JsonFlag
from .output import Output, PipeConsole, duration, reporting
from .running import run_until_told

if TYPE_CHECKING:
    from ..lab.demo import DemoResult
    from ..lab.event import Event
    from ..lab.lab import Lab
    from ..lab.scenario import Scenario
    from ..lab.single_board import SingleBoard

app = typer.Typer(help="Virtual relays and phones, to try things without hardware.", no_args_is_help=True)

_GO_ON = "Go on: add --keep, then try bitrelay devices, info, stats, links, listen in another terminal."
_PROGRESS_EVERY_S = 2.0

Engine = Literal["links", "mqtt"]
MicropythonOption = Annotated[
    Path | None,
    typer.Option(
        "--micropython",
        help="MicroPython interpreter (unix port) for the boards; without it, the installed one.",
        show_default=False,
    ),
]


_TTL = "each relay lowers a frame's TTL of 7 by one and none forwards a TTL of 1, so that no frame crosses more than 6"


@app.command()
def demo(
    boards: Annotated[
        int, typer.Option("--boards", "-b", help="How many relays in the line (1 to 6; of each mesh, 1 to 3).")
    ] = 3,
    frames: Annotated[int, typer.Option("--frames", "-f", min=1, max=100_000, help="Frames sent each way.")] = 100,
    meshes: Annotated[
        int, typer.Option("--meshes", min=1, max=2, help="2: two lines out of each other's reach, bridged by gateways.")
    ] = 1,
    per_mesh: Annotated[
        int | None,
        typer.Option("--gateways-per-mesh", min=1, max=2, help="Gateways of each of two meshes.", show_default="1"),
    ] = None,
    engine: Annotated[
        Engine | None, typer.Option("--engine", help="What links the gateways of two meshes.", show_default="links")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate", min=0.1, max=1000, help="Frames a second, both ways together.",
            show_default="20 with two meshes, else as fast as they are carried",
        ),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything running afterwards, until Ctrl-C, and print the ports.")
    ] = False,
    json: JsonFlag = False,
    micropython: MicropythonOption = None,
) -> None:  # fmt: skip
    """Send real frames both ways over a line of virtual relays with a phone at each end.

    With --meshes 2 the line is cut in two, and gateways, processes of `bitrelay gateway run`, bridge the gap.
    Succeeds only if every frame arrived exactly once, unaltered but for its TTL.
    """
    import sys

    _check_demo(boards, meshes, per_mesh, engine)
    with reporting(json) as out:
        _demand_lab()
        from ..gateway.config import EngineKind
        from ..lab.demo import run_demo
        from ..lab.demo_view import DemoView, summary
        from ..lab.gateway_demo import RATE, run_gateway_demo

        with DemoView(PipeConsole(file=sys.stderr if json else sys.stdout)) as view:

            async def while_up(result: "DemoResult", lab: "Lab") -> None:
                view.close()
                _show_result(out, result, summary(result))
                if not (keep or json):
                    out.line(_GO_ON)
                if keep:
                    _show_ports(out, lab, result.taken)
                    _show_gateways(out, result)
                    _say(out, "Ctrl-C ends the lab.")
                    await _tell_events(out, lab)

            result: DemoResult = run_until_told(
                run_demo(boards, frames, rate=rate, micropython=micropython, on_progress=view.show, while_up=while_up)
                if meshes == 1
                else run_gateway_demo(
                    boards,
                    frames,
                    per_mesh=per_mesh or 1,
                    engine=EngineKind(engine or EngineKind.LINKS),
                    rate=rate or RATE,
                    micropython=micropython,
                    on_progress=view.show,
                    while_up=while_up,
                )
            )
        if not result.passed:
            raise typer.Exit(ExitCode.CHECK_FAILED)


def _check_demo(boards: int, meshes: int, per_mesh: int | None, engine: str | None) -> None:
    most = 6 if meshes == 1 else 3
    if not 1 <= boards <= most:
        also = "" if meshes == 1 else "; the gateway between two meshes lowers it, too"
        raise typer.BadParameter(f"--boards: from 1 to {most}: {_TTL}{also}")
    if meshes == 1 and (per_mesh is not None or engine is not None):
        raise typer.BadParameter("--gateways-per-mesh and --engine go with --meshes 2: one mesh has no gateway")
    if per_mesh is not None and per_mesh > boards:
        raise typer.BadParameter("--gateways-per-mesh: every gateway needs a relay of its own, so at least 2 --boards")


@app.command()
def up(
    scenario: Annotated[
        str, typer.Argument(help="A scenario file (.toml), or one that comes along: line3, star, walk.")
    ],
    once: Annotated[
        bool, typer.Option("--once", help="End when the scenario's traffic and faults are over, not at Ctrl-C.")
    ] = False,
    json: JsonFlag = False,
    micropython: MicropythonOption = None,
) -> None:
    """Bring up the boards and phones of a scenario, print the boards' ports, and play its traffic and faults."""
    with reporting(json) as out:
        _demand_lab()
        from ..lab.lab import Lab
        from ..lab.scenario_file import find_scenario, load_scenario
        from ..lab.waiting import alongside

        loaded = load_scenario(find_scenario(scenario))

        async def play_and_stay(lab: Lab) -> None:
            if loaded.traffic or loaded.faults:
                _say(out, _how_long(loaded))
                report = await alongside(lab.play(), _tell_progress(out, lab))
                while not lab.events.empty():
                    _tell_event(out, lab.events.get_nowait())
                if json:
                    out.record(report.as_json())
                else:
                    out.line(
                        f"{report.delivered} of {report.sent} frames arrived, {report.duplicates} more than once, "
                        f"{report.altered} altered."
                    )
            if not once:
                await _for_ever()

        async def play() -> None:
            async with Lab(loaded, micropython=micropython) as lab:
                await lab.ready()
                _show_ports(out, lab)
                if not once:
                    _say(out, "Ctrl-C ends the lab.")
                await alongside(play_and_stay(lab), _tell_events(out, lab))

        run_until_told(play())


@app.command()
def board(
    chip: Annotated[str, typer.Option("--chip", help="esp32, esp32c3 or esp32s3.")] = "esp32c3",
    flash_size: Annotated[
        str | None,
        typer.Option(
            "--flash-size", help="2MB, 4MB, 8MB or 16MB; without it, that of FILE, or 4MB.", show_default=False
        ),
    ] = None,
    flash: Annotated[
        Path | None,
        typer.Option(
            "--flash",
            metavar="FILE",
            help="Start from this flash and keep it; made if it is not there.",
            show_default=False,
        ),
    ] = None,
    auto_reset: Annotated[
        bool,
        typer.Option(
            "--auto-reset/--no-auto-reset", help="Whether DTR and RTS reach the reset and boot pins, as on most boards."
        ),
    ] = True,
    name: Annotated[str, typer.Option("--name", help="What `bitrelay devices` calls it.", show_default=False)] = "",
    json: JsonFlag = False,
    micropython: MicropythonOption = None,
) -> None:
    """Start one virtual board, blank as from the shop, and leave it running until Ctrl-C.

    Its ports take esptool, mpremote and everything of bitrelay. The signal SIGUSR1 presses its RESET button, SIGUSR2
    presses RESET while BOOT is held.
    """
    import signal

    with reporting(json) as out:
        _demand_lab()
        from ..lab.esp_resets import ROM_WORDS
        from ..lab.nor_flash import SIZE_NAMES
        from ..lab.scenario_file import is_name
        from ..lab.single_board import single_board

        if chip not in ROM_WORDS:
            raise typer.BadParameter(f"no virtual board has the chip {chip!r}; there are: {', '.join(ROM_WORDS)}")
        if flash_size and flash_size.upper() not in SIZE_NAMES:
            raise typer.BadParameter(f"no flash size {flash_size!r}; there are: {', '.join(SIZE_NAMES)}")
        if name and not is_name(name):
            raise typer.BadParameter(f"{name!r} is no name: 1 to 24 letters, digits, - and _")
        size = SIZE_NAMES[flash_size.upper()] if flash_size else None

        async def stay() -> None:
            import asyncio

            async with single_board(
                chip, flash_size=size, flash=flash, auto_reset=auto_reset, name=name, micropython=micropython
            ) as single:
                loop = asyncio.get_running_loop()
                loop.add_signal_handler(signal.SIGUSR1, single.board.press_reset)
                loop.add_signal_handler(signal.SIGUSR2, single.board.press_boot_and_reset)
                single.board.on_restart = lambda why: out.note(f"{single.board.name}: restarted: {why}")
                single.board.on_failure = lambda why: out.note(f"{single.board.name}: gave up: {why}")
                _show_board(out, single)
                await _for_ever()

        run_until_told(stay())


def _show_result(out: Output, result: "DemoResult", text: str) -> None:
    if out.as_json:
        out.record(result.as_json())
    else:
        for line in text.splitlines():
            out.line(line)


def _show_ports(out: Output, lab: "Lab", taken: frozenset[str] = frozenset()) -> None:
    if out.as_json:
        out.record([{"name": board.name, "port": board.port, "rfc2217": board.url} for board in lab.boards.values()])
        return
    out.table(("board", "port", "also as"), [(board.name, board.port, board.url) for board in lab.boards.values()])
    first = next((board for board in lab.boards.values() if board.name not in taken), None)
    if first:
        out.line(f"Try in another terminal: bitrelay info -p {first.name}    bitrelay listen -p {first.name}")
        out.line(f"The prompt of MicroPython: bitrelay repl -p {first.name}    or: mpremote connect {first.port}")
        out.line(f"A board that has stopped goes on with: mpremote connect {first.port} reset")


def _show_gateways(out: Output, result: "DemoResult") -> None:
    import shlex

    from ..lab.gateway_demo import GatewayDemoResult

    if not isinstance(result, GatewayDemoResult):
        return
    pairs = list(zip(result.gateways, result.states, strict=True))
    if out.as_json:
        out.record([{"name": gateway.name, "relay": gateway.relay, "state": str(state)} for gateway, state in pairs])
        return
    out.table(("gateway", "mesh", "relay"), [(gateway.name, gateway.mesh, gateway.relay) for gateway, _ in pairs])
    out.line(f"Try in another terminal: bitrelay gateway status --state {shlex.quote(str(pairs[0][1]))}")


def _show_board(out: Output, single: "SingleBoard") -> None:
    values = single.as_json()
    if out.as_json:
        out.record(values)
        return
    out.table(("", ""), [(key, str(value)) for key, value in values.items()])
    out.line(f"Flash it from another terminal: bitrelay flash --port {values['name']}")
    out.line("The firmware file stands in for MicroPython's where nothing can be downloaded; esptool takes it as well.")
    if not single.board.auto_reset:
        out.line(f"Buttons: kill -USR1 {os.getpid()} is RESET, kill -USR2 {os.getpid()} is RESET while BOOT is held.")
    out.line("Ctrl-C takes the board away.")


def _say(out: Output, text: str) -> None:
    if not out.as_json:
        out.line(text)


def _how_long(scenario: "Scenario") -> str:
    seconds = scenario.seconds()
    if seconds is not None:
        return f"Playing, for about {duration(seconds)}."
    faults = max((fault.at + fault.over for fault in scenario.faults), default=0.0)
    at_least = f", for at least {duration(faults)}" if faults else ""
    return f"Playing{at_least}: it lasts until the frames have arrived."


async def _tell_events(out: Output, lab: "Lab") -> None:
    while True:
        _tell_event(out, await lab.events.get())


def _tell_event(out: Output, event: "Event") -> None:
    out.note(str(event))
    if out.as_json:
        out.record(event.as_json())


async def _tell_progress(out: Output, lab: "Lab") -> None:
    import asyncio

    loop = asyncio.get_running_loop()
    start = loop.time()
    while True:
        await asyncio.sleep(_PROGRESS_EVERY_S)
        report = lab.ledger.report()
        out.remark(f"{duration(loop.time() - start)}: {report.delivered} of {report.sent} frames sent so far arrived")


def _demand_lab() -> None:
    try:
        import bumble  # noqa: F401
        import nacl  # noqa: F401
    except ModuleNotFoundError as error:
        raise BrokenInstallation(
            f"the lab needs {error.name}, which is not installed", hint="Install it with pip install 'bitrelay[lab]'"
        ) from None


async def _for_ever() -> None:
    import asyncio

    await asyncio.get_running_loop().create_future()
