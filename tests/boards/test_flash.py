"""A board becomes a relay, and one that is a relay stays the one it was."""

import json

import pytest

from bitrelay.boards.fleet import FlashFailure, flash_all
from bitrelay.boards.job import FlashOptions, FlashResult, Target
from bitrelay.boards.plan import Wishes
from bitrelay.boards.rescue import rescue_path
from bitrelay.errors import BadData, CheckFailed, NotVerified
from tests.boards.conftest import IN_USE, Events, MakeBoard, flash_it, identity_file

CHIPS = ("esp32", "esp32c3", "esp32s3")
STAGES = ["connect", "firmware", "read", "build", "write", "verify", "start"]


async def test_blank_boards_of_all_chips_become_relays_at_once_and_a_missing_one_holds_up_none(
    make_board: MakeBoard,
) -> None:
    boards = [await make_board(chip, flash_size=size << 20) for chip, size in zip(CHIPS, (4, 8, 16), strict=True)]
    targets = [Target(one.board.name, one.board.url, "", True, one.firmware) for one in boards]
    events = Events()
    outcomes = await flash_all([*targets, Target("gone", "rfc2217://127.0.0.1:9")], FlashOptions(), events)
    for chip, one, outcome in zip(CHIPS, boards, outcomes, strict=False):
        assert isinstance(outcome, FlashResult)
        assert outcome.verified and outcome.identity == outcome.mac == one.board.unique_id.hex()
        assert (outcome.chip, outcome.flash_size) == (chip, one.board.flash.size)
        assert one.board.files()["/build.txt"].decode() == outcome.build
        assert [event.stage for event in events if event.port == one.board.name and event.share is None][:1] == [
            "connect"
        ]
        assert not rescue_path(outcome.mac).exists()
        assert one.board.flash.unerased == 0
    assert isinstance(outcomes[-1], FlashFailure) and "nothing listens there" in str(outcomes[-1].error)


async def test_an_update_keeps_what_is_the_boards_own(make_board: MakeBoard) -> None:
    one = await make_board(files=IN_USE)
    events = Events()
    result = await flash_it(one, events)
    files = one.board.files()
    assert {path: files[path] for path in IN_USE} == IN_USE
    assert (result.kept, result.verified) == (tuple(sorted(IN_USE)), True)
    assert files["/build.txt"] != b"old"
    assert events.stages == STAGES
    # Once more: MicroPython is there, so that only the files would be written.
    events = Events()
    await flash_it(one, events, dry_run=True)
    assert f"MicroPython {result.firmware} is on it already" in events.notes


async def test_wishes_come_true(make_board: MakeBoard) -> None:
    one = await make_board(files=IN_USE)
    identity = identity_file(b"another")
    result = await flash_it(one, wishes=Wishes("cellar", b'{"log_level": 1}', identity), erase=True)
    files = one.board.files()
    assert json.loads(files["/settings.json"]) == {"log_level": 1, "name": "cellar"}
    assert "/lib/mine.py" not in files
    assert result.kept == ()


async def test_a_dry_run_changes_nothing_and_leaves_the_board_running(make_board: MakeBoard) -> None:
    one = await make_board(files=IN_USE)
    programmed = one.board.flash.programmed
    events = Events()
    result = await flash_it(one, events, dry_run=True)
    assert not result.verified
    assert events.notes.splitlines()[-2].startswith("Would write 2")
    assert "/identity.bin, /lib/mine.py, /settings.json" in events.notes
    assert one.board.flash.programmed == programmed
    await one.board.wait_for_output("starting", 10)


async def test_rates_that_fail_are_left_for_lower_ones(make_board: MakeBoard) -> None:
    one = await make_board(max_baud=115_200)
    events = Events()
    assert (await flash_it(one, events)).verified
    assert "fails at 921,600 baud; trying 460,800" in events.notes
    assert "fails at 460,800 baud; trying 115,200" in events.notes


async def test_somebody_elses_program_is_replaced_only_with_consent(make_board: MakeBoard) -> None:
    one = await make_board(files=IN_USE, project=b"esphome")
    programmed = one.board.flash.programmed
    asked: list[str] = []

    async def no(question: str) -> bool:
        asked.append(question)
        return False

    with pytest.raises(CheckFailed, match="left as it was"):
        await flash_it(one, confirm=no)
    assert "esphome v1." in asked[0]
    assert one.board.flash.programmed == programmed


async def test_damaged_files_are_given_up_only_when_told_to(make_board: MakeBoard) -> None:
    one = await make_board(files=IN_USE)
    for at in (0x200000, 0x201000):
        one.board.flash.program(at + 16, bytes(16))
    with pytest.raises(BadData, match="cannot be read.*--erase"):
        await flash_it(one)
    await flash_it(one, erase=True, dry_run=True)


async def test_no_success_is_told_when_the_old_program_still_runs(make_board: MakeBoard) -> None:
    one = await make_board(files=IN_USE)
    before = one.board.flash.read(0, one.board.flash.size)
    events = Events()

    def as_before() -> None:
        one.board.flash.erase(0, one.board.flash.size)
        one.board.flash.program(0, before)

    events.on("start", as_before)
    with pytest.raises(NotVerified, match="program old runs, not [0-9a-f]{12}"):
        await flash_it(one, events)
    # What was kept for this board is still there for the next run.
    assert rescue_path(one.board.unique_id.hex()).exists()
