"""`bitrelay identity` as somebody at a terminal, or a script, sees it."""

import hashlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bitrelay.errors import ExitCode
from bitrelay.identity.challenge import Challenge
from bitrelay.identity.keys import IdentityKeys
from bitrelay.identity.local import LocalIdentity, load_identity, save_identity, update_identity
from bitrelay.identity.pending import PendingMining, load_pending, pending_path, pending_refresh_path, save_pending
from bitrelay.identity.proof import PowIdentity
from bitrelay.identity.solution import Solution
from shared_protocol.pow import Miner
from tests.host.command import DEADLINE_S, ask, finish, run, start


@pytest.fixture
def identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BITRELAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BITRELAY_PASSPHRASE", "correct horse")
    return tmp_path / "home" / "identity" / "own.identity"


def new(*args: str) -> dict[str, object]:
    return dict(ask("identity", "new", "--development", "--workers", "1", *args))


@pytest.mark.requirement("POW-09")
def test_a_new_identity_of_16_bits(identity: Path) -> None:
    made = ask("identity", "new")
    assert (made["difficulty"], made["development"], made["refresh_count"], made["kept"]) == (16, False, 0, None)
    assert (made["needs_refresh"], made["expired"], made["file"]) == (False, False, str(identity))
    assert made["score"] == pytest.approx(0.55, abs=0.001)
    assert made["tried"] > 0
    shown = ask("identity", "show")
    assert {name: shown[name] for name in ("peer_id", "on_air_id", "created_at")} == {
        name: made[name] for name in ("peer_id", "on_air_id", "created_at")
    }


@pytest.mark.requirement("POW-41")
def test_8_bits_want_to_be_asked_for(identity: Path) -> None:
    assert new()["difficulty"] == 8
    done = run("identity", "show")
    assert "8 bits, for development alone" in done.stdout
    for args in (["--difficulty", "15"], ["--difficulty", "7", "--development"]):
        done = run("identity", "new", "--replace", *args)
        assert done.returncode == ExitCode.USAGE


def test_nothing_secret_is_shown(identity: Path) -> None:
    new()
    keys = load_identity(identity).keys
    shown = "".join(done.stdout + done.stderr for done in (run("identity", "show"), run("identity", "show", "--json")))
    assert keys.peer_id.hex() in shown
    assert keys.on_air_id.hex() in shown
    assert keys.signing_seed.hex() not in shown
    assert keys.noise_secret.hex() not in shown


def test_without_an_identity(identity: Path) -> None:
    for command in (["show"], ["export", str(identity.parent / "x")]):
        done = run("identity", *command)
        assert done.returncode == ExitCode.BAD_DATA
        assert "bitrelay identity new" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_one_that_is_there_stays_unless_told_otherwise(identity: Path) -> None:
    first = new()
    before = identity.read_bytes()
    done = run("identity", "new", "--development")
    assert done.returncode == ExitCode.BAD_DATA
    assert "--replace" in done.stderr
    assert identity.read_bytes() == before
    done = run("identity", "new", "--development", "--replace", "--json")
    made = json.loads(done.stdout)
    assert made["peer_id"] != first["peer_id"]
    assert Path(made["kept"]).read_bytes() == before
    assert made["kept"] in done.stderr


def test_a_damaged_one_is_named_and_left_alone(identity: Path) -> None:
    new()
    raw = bytearray(identity.read_bytes())
    raw[100] ^= 1
    identity.write_bytes(raw)
    for command in (["show"], ["new", "--development"], ["export", str(identity.parent / "x")]):
        done = run("identity", *command)
        assert done.returncode == ExitCode.BAD_DATA
        assert str(identity) in done.stderr
        assert "damaged" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert identity.read_bytes() == raw


def test_it_moves_to_another_computer(identity: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = new()
    file = str(tmp_path / "me.export")
    saved = ask("identity", "export", file)
    assert saved == {"file": file, "peer_id": made["peer_id"], "on_air_id": made["on_air_id"]}
    there = tmp_path / "there"
    monkeypatch.setenv("BITRELAY_HOME", str(there))
    assert ask("identity", "import", file)["peer_id"] == made["peer_id"]
    assert (there / "identity" / "own.identity").read_bytes() == identity.read_bytes()
    monkeypatch.setenv("BITRELAY_PASSPHRASE", "wrong")
    done = run("identity", "import", file)
    assert "--replace" in done.stderr
    assert run("identity", "import", file, "--replace").returncode == ExitCode.WRONG_PASSPHRASE
    assert run("identity", "export", file).returncode == ExitCode.BAD_DATA


LONG_SEARCH = ("--difficulty", "24", "--workers", "1")
KEYS = IdentityKeys(hashlib.sha256(b"signing seed").digest(), hashlib.sha256(b"noise secret").digest())


@pytest.fixture
def long_search(identity: Path) -> Path:
    """Unfinished work for LONG_SEARCH: these keys have no solution of 24 bits among the first 50,000,000 nonces."""
    data = hashlib.sha256(b"long search 4").digest()
    path = pending_path(identity)
    save_pending(path, PendingMining(KEYS, Challenge(24, data, 1786000000, 1 << 40), 256))
    return path


def test_ctrl_c_ends_it_cleanly_and_another_run_goes_on(identity: Path, long_search: Path) -> None:
    reached = 256
    for told in (signal.SIGINT, signal.SIGTERM):
        process = start("identity", "new", *LONG_SEARCH, "--json")
        assert process.stderr is not None
        assert process.stderr.readline() == f"bitrelay: going on at nonce {reached:,}\n"
        process.send_signal(told)
        out, err = finish(process)
        assert process.returncode == ExitCode.INTERRUPTED
        assert out == ""
        assert err.splitlines() == [
            "bitrelay: stopped; `bitrelay identity new --difficulty 24` goes on where this one was"
        ]
        pending = load_pending(long_search)
        assert pending is not None
        assert pending.keys == KEYS
        assert pending.next_nonce >= reached
        reached = pending.next_nonce
    assert not identity.exists()


def test_unfinished_work_of_another_difficulty_is_not_dropped_without_a_word(identity: Path, long_search: Path) -> None:
    done = run("identity", "new", "--development")
    assert done.returncode == 0
    assert "dropped unfinished work for 24 bits, 256 nonces" in done.stderr
    assert not long_search.exists()
    # Work that is finished is none that could be lost.
    assert "dropped" not in run("identity", "new", "--development", "--replace").stderr


# Refreshing


def age(path: Path, days: float) -> LocalIdentity:
    """Put the identity's work so many days back: mined anew, since its time is hashed."""
    now = int(time.time() - days * 86_400)
    old = load_identity(path)
    challenge = Challenge.fresh(8, now, hashlib.sha256(b"aged").digest())
    miner = Miner(challenge.challenge_data, old.keys.signing_key, challenge.timestamp, 8)
    while not miner.step(1 << 12):
        pass
    aged = LocalIdentity(old.keys, PowIdentity.made(old.keys, Solution.made(challenge, miner.nonce, old.keys, now)))
    update_identity(path, aged)
    return aged


@pytest.mark.parametrize("days", [1.5, 9])
def test_one_that_is_due_is_refreshed_and_show_says_how(identity: Path, days: float) -> None:
    made = new()
    assert "identity refresh" not in run("identity", "show").stdout
    before = age(identity, days)
    assert "is due again: `bitrelay identity refresh`" in run("identity", "show").stdout
    done = ask("identity", "refresh", "--workers", "1")
    assert {name: done[name] for name in ("peer_id", "on_air_id", "difficulty", "file")} == {
        name: made[name] for name in ("peer_id", "on_air_id", "difficulty", "file")
    }
    assert (done["refresh_count"], done["needs_refresh"], done["expired"]) == (1, False, False)
    assert done["tried"] > 0
    after = load_identity(identity)
    assert after.keys == before.keys
    assert after.proof.pow_solution.challenge != before.proof.pow_solution.challenge
    assert [file.name for file in identity.parent.iterdir()] == [identity.name]


def test_one_that_is_not_due_is_left_alone_unless_forced(identity: Path) -> None:
    new()
    before = identity.read_bytes()
    done = run("identity", "refresh")
    assert done.returncode == ExitCode.BAD_DATA
    assert "is not due for a refresh until" in done.stderr
    assert "--force" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert identity.read_bytes() == before
    assert ask("identity", "refresh", "--force", "--workers", "1")["refresh_count"] == 1


def test_ctrl_c_ends_a_refresh_cleanly_and_another_run_goes_on(identity: Path) -> None:
    old = Challenge.fresh(24, 1786000000, hashlib.sha256(b"an old identity of 24 bits").digest())
    local = LocalIdentity(KEYS, PowIdentity.made(KEYS, Solution.made(old, 26804330, KEYS, 1786000000)))
    save_identity(identity, local)
    # No solution among the first 50,000,000 nonces.
    long = Challenge(24, hashlib.sha256(b"long search 4").digest(), 1786000000, 1 << 40)
    unfinished = pending_refresh_path(identity)
    save_pending(unfinished, PendingMining(KEYS, long, 256))
    process = start("identity", "refresh", "--force", "--workers", "1", "--json")
    assert process.stderr is not None
    assert process.stderr.readline() == "bitrelay: going on at nonce 256\n"
    process.send_signal(signal.SIGINT)
    out, err = finish(process)
    assert process.returncode == ExitCode.INTERRUPTED
    assert out == ""
    assert err.splitlines() == ["bitrelay: stopped; `bitrelay identity refresh --force` goes on where this one was"]
    assert load_identity(identity) == local
    pending = load_pending(unfinished)
    assert pending is not None
    assert (pending.keys, pending.challenge) == (KEYS, long)
    assert pending.next_nonce >= 256


def test_without_a_home_directory_it_says_what_to_set() -> None:
    # This user's number has no entry, so that HOME is all there is.
    program = """
import pwd, sys
def nobody(uid): raise KeyError(uid)
pwd.getpwuid = nobody
from bitrelay.__main__ import main
sys.argv = ["bitrelay", "identity", "show"]
main()
"""
    env = {name: value for name, value in os.environ.items() if name not in ("HOME", "BITRELAY_HOME", "XDG_DATA_HOME")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env, timeout=DEADLINE_S)
    assert done.returncode == ExitCode.IO_ERROR
    assert done.stderr == "bitrelay: this user has no home directory. Set BITRELAY_HOME to a folder for its files\n"


def test_on_a_terminal_there_is_a_bar(long_search: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "bitrelay", "identity", "new", *LONG_SEARCH],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while b"MH/s" not in shown:
            shown += os.read(ours, 1024)
        os.write(ours, b"\x03")
        while True:
            shown += os.read(ours, 1024)
    except OSError:  # EIO: the last end was closed
        pass
    os.close(ours)
    process.wait(DEADLINE_S)
    assert b"mining" in shown
    assert b"24 bits" in shown


def test_the_bench(identity: Path) -> None:
    figures = ask("identity", "bench", "--seconds", "0.1", "--rounds", "1")
    assert figures["mining_rate"] > 1000
    assert figures["check_rate"] > 1000
    assert not identity.parent.exists()
