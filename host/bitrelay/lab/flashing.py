"""Has the blank boards of a lab flashed by the flasher that real boards get."""

from collections.abc import Callable

from bitrelay.boards.flasher import flash
from bitrelay.boards.job import FlashEvent, FlashOptions, Target
from bitrelay.boards.plan import Wishes

from .board import Board
from .lab import Lab, settings_of
from .scenario import BoardSpec
from .waiting import together

OnStage = Callable[[str, str], None]


async def flash_lab(lab: Lab, on_stage: OnStage = lambda name, stage: None) -> None:
    """Make relays of all boards of a lab, at once; they have the scenario's settings and run when this returns.

    on_stage hears what is going on at which board, in a few characters: "write 45 %". Raises what the flasher raises.
    """
    await together(*(_flash_board(lab, lab.boards[spec.name], spec, on_stage) for spec in lab.scenario.boards))


async def _flash_board(lab: Lab, board: Board, spec: BoardSpec, on_stage: OnStage) -> None:
    def tell(event: FlashEvent) -> None:
        if not event.note:
            share = "" if event.share is None else f" {event.share * 100:.0f} %"
            on_stage(board.name, event.stage + share)

    target = Target(board.name, board.url, virtual=True, stand_in=lab.firmware(board.chip))
    await flash(target, FlashOptions(wishes=Wishes(settings=settings_of(spec))), tell)
    on_stage(board.name, "")
