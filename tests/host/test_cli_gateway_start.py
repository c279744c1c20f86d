"""Signals that come while a gateway starts."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
import typer

from bitrelay.cli import gateway
from bitrelay.cli.output import Output
from bitrelay.cli.running import run_until_told
from bitrelay.gateway.service import GatewayService


def test_who_asks_for_the_file_while_it_starts_has_it_read_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened = []

    async def start(self: GatewayService) -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0.05)
        happened.append("started")

    def reload(self: GatewayService) -> None:
        happened.append("read again")
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(GatewayService, "start", start)
    monkeypatch.setattr(GatewayService, "reload", reload)
    monkeypatch.setattr(gateway, "_tell_up", lambda out, service: os.kill(os.getpid(), signal.SIGTERM))
    path = tmp_path / "gateway.toml"
    mesh = '[[mesh]]\nname = "west"\nrelays = ["/dev/no-relay"]\n'
    path.write_text(f'name = "north"\nstate = "state"\n{mesh}[metrics]\nlisten = "off"\n')
    with pytest.raises(typer.Exit) as ended:
        run_until_told(gateway._run(Output(as_json=True), path), as_service=True)
    assert ended.value.exit_code == 0
    assert happened == ["started", "read again"]


def test_what_was_interrupted_before_it_began_is_not_complained_of(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    class Interrupted:
        def __init__(self, loop_factory: object) -> None:
            raise KeyboardInterrupt

    async def work() -> None: ...

    monkeypatch.setattr(asyncio, "Runner", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_until_told(work())
    assert not recwarn.list
