"""What becomes of changed settings: restart, trial, confirmation. Shared by the commands that change some."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import CheckFailed
from .output import Output, Values, duration

if TYPE_CHECKING:
    from ..console import Console

MinutesOption = Annotated[
    int | None,
    typer.Option(
        "--for",
        metavar="MINUTES",
        min=1,
        max=1440,
        help="How long settings that can cut the link stay on trial. Without it the relay says: 10 minutes.",
        show_default=False,
    ),
]
ConfirmOption = Annotated[
    bool, typer.Option("--confirm", help="Restart the relay if it must, and confirm only if it answers on this port.")
]
RestartOption = Annotated[
    bool | None,
    typer.Option(
        "--restart/--no-restart", help="Restart the relay, so that all is in force. Default: no.", show_default=False
    ),
]

_CONFIRM = "`bitrelay config confirm`"
RESTART_AND_CONFIRM = "`bitrelay config confirm --restart`"


@dataclass(frozen=True)
class Wish:
    """What the user wants besides the change: minutes of trial, a confirmation, a restart."""

    minutes: int | None
    confirm: bool
    restart: bool | None

    def check(self) -> None:
        """Raise BadParameter for options that contradict each other."""
        if self.confirm and self.restart is False:
            raise typer.BadParameter("--confirm is for settings that are in force, and may need the restart")


@dataclass(frozen=True)
class Outcome:
    """How a change ended. waits: for the next start; trial_s: seconds until it reverts, None if it stays."""

    waits: bool
    trial_s: int | None
    restarted: bool = False
    confirmed: bool = False

    def as_json(self) -> Values:
        """The fields that every change ends with."""
        return {
            "restart_needed": self.waits,
            "restarted": self.restarted,
            "trial_s": self.trial_s,
            "confirmed": self.confirmed,
        }


async def settle(console: "Console", state: Outcome, wish: Wish, timeout_s: float) -> Outcome:
    """Restart and confirm as wished, from the state that a change has left; the state then.

    Raises CheckFailed if the relay went back to the settings before, and what restarting and asking raise. The console
    may be closed afterwards.
    """
    from shared_protocol import console as messages

    from ..relay_files import IT_REVERTS, restart

    if not (wish.restart or wish.confirm):
        return state
    now, restarted = console, False
    try:
        if wish.restart or state.waits:
            now, restarted = await restart(console, otherwise=None if state.trial_s is None else IT_REVERTS), True
            after = state_of(now.info)
            if state.trial_s is not None and after.trial_s is None:
                raise CheckFailed(
                    "the relay has gone back to the settings it had before",
                    device=console.port,
                    hint="`bitrelay config get` shows them",
                )
            state = after
        if wish.confirm:
            await now.request(messages.CONFIRM, timeout_s=timeout_s)
        return Outcome(state.waits, None if wish.confirm else state.trial_s, restarted, wish.confirm)
    finally:
        await now.close()


def state_of(told: Mapping[str, Any]) -> Outcome:
    """The state that a relay tells in its answers to INFO and SET."""
    trial_s = told.get("trial_s")
    return Outcome(bool(told.get("restart")), None if trial_s is None else int(trial_s))


async def ask_state(console: "Console", timeout_s: float) -> Outcome:
    """The state that the relay is in now."""
    from shared_protocol import console as messages

    return state_of(await console.request(messages.INFO, timeout_s=timeout_s))


def tell_pending(out: Output, state: Outcome) -> None:
    """Say what is still to come, to somebody who changed nothing."""
    if state.waits:
        out.line("Changed settings wait for the relay's next start.")
    if state.trial_s is not None:
        out.line(f"Settings are on trial: they revert in {duration(state.trial_s)} unless {_CONFIRM} comes first.")


def tell(out: Output, outcome: Outcome, on_trial: bool = True) -> None:
    """Say what has become of a change, and what the user may do next; on_trial: whether it is of the kind for that."""
    if outcome.restarted:
        out.line("The relay has restarted and answers.")
    if outcome.confirmed:
        out.line("Confirmed: it stays.")
    if outcome.waits:
        out.line("It takes effect at the relay's next start.")
    if outcome.trial_s is not None and not on_trial:
        out.line(
            f"It stays. Others are on trial: they revert in {duration(outcome.trial_s)} unless {_CONFIRM} comes first."
        )
    elif outcome.trial_s is not None:
        out.line(
            f"On trial, because it can cut the link to the relay: in {duration(outcome.trial_s)} it reverts by itself, "
            f"unless {_CONFIRM} comes first."
        )
    if outcome.waits and outcome.trial_s is not None and on_trial:
        out.line(f"{RESTART_AND_CONFIRM} restarts the relay now, and confirms if it answers.")
    elif outcome.waits:
        out.line("The same command with --restart restarts it now.")
