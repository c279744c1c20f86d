"""`bitrelay backup` and `restore`: a relay's settings and identity in one file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import BadData, DeviceTimeout, NotARelay
from .options import JsonFlag, PortOption, TimeoutOption, with_console
from .output import reporting
from .passphrase import PassphraseOption, passphrase_source

if TYPE_CHECKING:
    from ..backup import BackupContents
    from ..console import Console

_IDENTITY = "the key pairs that make this relay the one its network knows; sealed with a passphrase"


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    port: PortOption = None,
    identity: Annotated[bool, typer.Option("--identity", help=f"Also {_IDENTITY}.")] = False,
    passphrase_file: PassphraseOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
    timeout: TimeoutOption = 5.0,
    json: JsonFlag = False,
) -> None:
    """Save the relay's settings, and with --identity what it is, in one file for `bitrelay restore`."""
    with reporting(json) as out:
        from ..whole_file import demand_absent

        if passphrase_file is not None and not identity:
            raise typer.BadParameter("--passphrase-file goes with --identity")
        if not force:
            demand_absent(file)
        ask = passphrase_source(passphrase_file, twice=True) if identity else None

        async def work(console: "Console") -> "tuple[str, BackupContents]":
            from ..backup import back_up

            return console.port, await back_up(console, identity=identity, timeout_s=timeout)

        relay_port, contents = with_console(port, timeout, work)
        from ..backup import write_backup

        write_backup(file, contents, ask() if ask else None, replace=force)
        name = contents.relay.get("name", relay_port)
        if json:
            told = {"port": relay_port, "file": str(file), "relay": dict(contents.relay), "made": contents.made}
            out.record(told | {"settings_bytes": len(contents.settings), "identity": contents.has_identity})
        elif identity:
            out.line(f"Saved the settings and the identity of {name} in {file}. Without the passphrase it is lost.")
        else:
            out.line(f"Saved the settings of {name} in {file}. With --identity it would have its identity, too.")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `bitrelay backup` wrote.")],
    port: PortOption = None,
    identity: Annotated[bool, typer.Option("--identity", help=f"Also {_IDENTITY}.")] = False,
    passphrase_file: PassphraseOption = None,
    timeout: TimeoutOption = 5.0,
    json: JsonFlag = False,
) -> None:
    """Put a backup on a relay, restart it, and compare byte for byte. A file that is not in order changes nothing."""
    with reporting(json) as out:
        from ..backup import read_backup
        from ..backup import restore as restore_files

        if passphrase_file is not None and not identity:
            raise typer.BadParameter("--passphrase-file goes with --identity")
        contents = read_backup(file, passphrase_source(passphrase_file) if identity else None)
        if identity and not contents.has_identity:
            raise BadData(f"{file}: the backup has no identity", hint="Run it without --identity")
        reached = False

        async def work(console: "Console") -> tuple[str, str]:
            nonlocal reached
            reached = True
            async with await restore_files(console, contents, identity=identity, timeout_s=timeout) as restarted:
                return restarted.port, str(restarted.info.get("name", restarted.port))

        try:
            relay_port, name = with_console(port, timeout, work)
        except (NotARelay, DeviceTimeout) as error:
            if not reached:
                error.hint = f"If the board is blank, run `bitrelay flash --restore {file}`. {error.hint or ''}".strip()
            raise
        what = ["settings", "identity"] if identity else ["settings"]
        if json:
            out.record({"port": relay_port, "name": name, "restored": what, "verified": True, "made": contents.made})
        else:
            out.line(f"Restored the {' and the '.join(what)} to {name}; compared byte for byte after its restart.")
            if contents.has_identity and not identity:
                out.line("The identity stays in the file; --identity restores it, too.")
