"""`bitrelay config`: the settings of a relay, one by one or all at once."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BadData, CheckFailed, DeviceError, RequestRefused
from .options import JsonFlag, PortOption, TimeoutOption, with_console
from .output import Output, Values, reporting
from .trial import (
    RESTART_AND_CONFIRM,
    ConfirmOption,
    MinutesOption,
    Outcome,
    RestartOption,
    Wish,
    ask_state,
    settle,
    state_of,
    tell,
    tell_pending,
)

if TYPE_CHECKING:
    from ..console import Console
    from ..known_settings import Setting

app = typer.Typer(help="The settings of a relay, one by one or all at once.", no_args_is_help=True)

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="Which setting; `bitrelay config get` lists them.")]


@app.command("get")
def get_settings(
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="Only this setting.", show_default=False)] = None,
    port: PortOption = None,
    timeout: TimeoutOption = 5.0,
    json: JsonFlag = False,
) -> None:
    """Show the settings: value, default, range, unit, and when a change takes effect."""
    with reporting(json) as out:

        async def work(console: "Console") -> tuple[dict[str, str], Outcome]:
            return await _ask_settings(console, timeout), state_of(console.info)

        values, state = with_console(port, timeout, work)
        records = _records(values, key)
        if json:
            out.record(
                records[0]
                if key is not None
                else {"settings": records, "restart_needed": state.waits, "trial_s": state.trial_s}
            )
        else:
            out.table(("key", "value", "default", "range", "unit", "a change takes effect"), map(_row, records))
            if key is not None and "meaning" in records[0]:
                out.line(f"{key}: {records[0]['meaning']}")
            tell_pending(out, state)


@app.command("set", context_settings={"ignore_unknown_options": True})
def set_setting(
    key: KeyArgument,
    value: Annotated[str, typer.Argument(help="The new value.")],
    port: PortOption = None,
    minutes: MinutesOption = None,
    confirm: ConfirmOption = False,
    restart: RestartOption = None,
    timeout: TimeoutOption = 5.0,
    json: JsonFlag = False,
) -> None:
    """Change a setting. One that can cut the link to the relay reverts by itself unless it is confirmed."""
    with reporting(json) as out:
        from ..known_settings import find_setting

        setting = find_setting(key)
        _change(out, setting, str(setting.parse(value)), Wish(minutes, confirm, restart), port, timeout)


@app.command("unset")
def unset_setting(
    key: KeyArgument,
    port: PortOption = None,
    minutes: MinutesOption = None,
    confirm: ConfirmOption = False,
    restart: RestartOption = None,
    timeout: TimeoutOption = 5.0,
    json: JsonFlag = False,
) -> None:
    """Put a setting back to its default."""
    with reporting(json) as out:
        from ..known_settings import find_setting

        _change(out, find_setting(key), None, Wish(minutes, confirm, restart), port, timeout)


@app.command("export")
def export_settings(
    file: Annotated[str, typer.Argument(metavar="[FILE|-]", help="Where to, - for standard output.")] = "-",
    port: PortOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
    timeout: TimeoutOption = 5.0,
    json: JsonFlag = False,
) -> None:
    """Write the settings as a text file, with what each is for and what it takes, for `config import` and `flash`."""
    with reporting(json) as out:
        from ..settings_file import render_settings
        from ..whole_file import demand_absent, write_whole

        if file != "-" and not force:
            demand_absent(Path(file))
        stored, relay_port = with_console(port, timeout, lambda console: _stored(console, timeout))
        values = {key: value for key, value in stored.items() if _is_known(out, key, value)}
        text = render_settings(values)
        if file != "-":
            write_whole(Path(file), text.encode(), replace=force)
        if json:
            out.record({"port": relay_port, "file": None if file == "-" else file, "settings": values})
        elif file == "-":
            for line in text.splitlines():
                out.line(line)
        else:
            out.line(f"Wrote the settings to {file}; {len(values)} of them are not the defaults.")


@app.command("import")
def import_settings(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file of `config export`, - for standard input.")],
    port: PortOption = None,
    minutes: MinutesOption = None,
    confirm: ConfirmOption = False,
    restart: RestartOption = None,
    timeout: TimeoutOption = 5.0,
    json: JsonFlag = False,
) -> None:
    """Replace all settings by those of a file; what is not in it goes back to its default. All or nothing."""
    with reporting(json) as out:
        from ..settings_file import load_settings_file, to_board_file

        wish = Wish(minutes, confirm, restart)
        wish.check()
        values = load_settings_file(Path("/dev/stdin" if file == "-" else file))

        async def work(console: "Console") -> tuple[str, dict[str, list[Any]], Outcome]:
            from ..relay_files import SETTINGS, export_file, import_file

            before = _decoded(await export_file(console, SETTINGS, timeout)) or {}
            changed = _changes(before, values)
            if changed:
                await import_file(console, SETTINGS, to_board_file(values), trial_min=minutes, timeout_s=timeout)
            return console.port, changed, await settle(console, await ask_state(console, timeout), wish, timeout)

        relay_port, changed, outcome = with_console(port, timeout, work)
        if json:
            out.record({"port": relay_port, "changed": changed} | outcome.as_json())
        else:
            for key, (old, new) in changed.items():
                out.line(f"{key}: {_shown(old)} -> {_shown(new)}")
            if not changed:
                out.line("The relay has these settings already.")
            tell(out, outcome)


@app.command("confirm")
def confirm_settings(
    port: PortOption = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="If the settings wait for a restart, restart the relay first.")
    ] = False,
    timeout: TimeoutOption = 5.0,
    json: JsonFlag = False,
) -> None:
    """Keep the settings that are on trial, now that the relay answers with them."""
    with reporting(json) as out:

        async def work(console: "Console") -> tuple[str, Outcome]:
            state = state_of(console.info)
            if state.trial_s is None:
                return console.port, state
            if state.waits and not restart:
                raise CheckFailed(
                    "the settings on trial are not in force yet: the relay has not restarted since",
                    device=console.port,
                    hint=f"{RESTART_AND_CONFIRM} restarts it, and confirms if it answers",
                )
            return console.port, await settle(console, state, Wish(None, True, None), timeout)

        relay_port, outcome = with_console(port, timeout, work)
        if json:
            out.record({"port": relay_port} | outcome.as_json())
            return
        if not outcome.confirmed:
            out.line("No settings are on trial.")
        tell(out, outcome)


def _change(out: Output, setting: "Setting", value: str | None, wish: Wish, port: str | None, timeout_s: float) -> None:
    wish.check()
    if wish.minutes is not None and not setting.on_trial:
        raise typer.BadParameter(f"--for: {setting.key} cannot cut the link and is never on trial")
    if wish.confirm and not setting.on_trial:
        # Nothing of it is to be confirmed, and what else is on trial is not meant.
        wish = replace(wish, confirm=False, restart=wish.restart or setting.at_restart)

    async def work(console: "Console") -> tuple[str, Values, Outcome]:
        from shared_protocol import console as messages

        asked: Values = {"key": setting.key, "value": value, "trial_min": wish.minutes}
        try:
            answer = await console.request(messages.SET, asked, timeout_s)
        except RequestRefused as error:
            raise RequestRefused(
                f"{setting.key} = {value}: {error.what}",
                code=error.code,
                device=console.port,
                hint=f"{setting.key} takes {setting.takes}",
            ) from None
        return console.port, answer, await settle(console, state_of(answer), wish, timeout_s)

    relay_port, answer, outcome = with_console(port, timeout_s, work)
    now = setting.parse(answer["value"])
    if out.as_json:
        out.record({"port": relay_port, "key": setting.key, "value": now} | outcome.as_json())
    else:
        out.line(f"{setting.key} = {now}" + (" (the default)" if value is None else ""))
        tell(out, outcome, setting.on_trial)


async def _ask_settings(console: "Console", timeout_s: float) -> dict[str, str]:
    from shared_protocol import console as messages

    records = await console.request_list(messages.GET, timeout_s=timeout_s)
    return {str(record.get("key", "")): str(record.get("value", "")) for record in records}


async def _stored(console: "Console", timeout_s: float) -> tuple[dict[str, Any], str]:
    from ..relay_files import SETTINGS, export_file

    stored = _decoded(await export_file(console, SETTINGS, timeout_s))
    if stored is None:
        raise DeviceError(
            "its settings file is damaged, the defaults are in force",
            device=console.port,
            hint="Any `bitrelay config set` writes it anew",
        )
    return stored, console.port


def _decoded(data: bytes) -> dict[str, Any] | None:
    from shared_protocol.settings import decode_file

    try:
        return dict(decode_file(data))
    except ValueError:
        return None


def _is_known(out: Output, key: str, value: Any) -> bool:
    from ..known_settings import known_settings

    setting = known_settings().get(key)
    if setting is None:
        out.note(f"left out {key}: this release does not know it")
        return False
    try:
        setting.check(value)
    except ValueError as error:
        out.note(f"left out {key} = {value!r}: it must be {error}")
        return False
    return True


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Old and new value of each key that is stored and will not be as it was; None for one that is not stored."""
    keys = [*after, *(key for key in before if key not in after)]
    return {key: [before.get(key), after.get(key)] for key in keys if before.get(key) != after.get(key)}


def _shown(value: Any) -> str:
    return "default" if value is None else str(value)


def _records(values: dict[str, str], key: str | None) -> list[Values]:
    from ..known_settings import known_settings, unknown_setting

    if key is not None and key not in values:
        raise unknown_setting(key, list(values))
    known = known_settings()
    keys = [name for name in known if name in values] + [name for name in values if name not in known]
    return [_record(name, values[name], known.get(name)) for name in keys if key in (None, name)]


def _record(key: str, text: str, setting: "Setting | None") -> Values:
    # A newer relay has settings that we know nothing of.
    if setting is None:
        return {"key": key, "value": text}
    try:
        value: int | str = setting.parse(text)
    except BadData:
        value = text
    return {
        "key": key,
        "value": value,
        "default": setting.default,
        "lowest": setting.lowest,
        "highest": setting.highest,
        "longest_bytes": setting.longest,
        "unit": setting.unit,
        "at_restart": setting.at_restart,
        "on_trial": setting.on_trial,
        "range": setting.range,
        "effect": setting.effect,
        "meaning": setting.meaning,
    }


def _row(record: Values) -> list[str]:
    return [str(record.get(name, "")) for name in ("key", "value", "default", "range", "unit", "effect")]
