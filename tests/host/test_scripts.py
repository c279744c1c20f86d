"""flash.sh and the environment it makes, without the minute that making one takes: tests/run.sh itself does that."""

import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from tests.host.command import finish

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ["bash", "cat", "cksum", "dirname", "head", "rm", "tail", "tee", "tr", "uname"]


def run(*args: str, cwd: Path = ROOT, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(ROOT / "flash.sh"), *args],
        cwd=cwd,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A PATH with the usual tools and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (folder / tool).symlink_to(found)
    return folder


def environment_made(venv: Path, installer: str) -> None:
    """An environment of this clone in which nothing is installed yet; installer is a shell command."""
    program(venv / "bin/python", f'case "$*" in *install*) {installer} ;; esac')
    program(venv / "bin/bitrelay", 'for arg in "$@"; do printf "[%s]" "$arg"; done')
    (venv / "bitrelay-made").write_text(f"{ROOT}\n")


@pytest.mark.parametrize("script", ["flash.sh", "tests/run.sh", ".ci/run", "host/venv.sh"])
def test_every_script_is_valid_bash(script: str) -> None:
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True, timeout=10)


def test_help_says_what_it_does_and_makes_no_environment(tmp_path: Path) -> None:
    done = run("--help", BITRELAY_VENV=str(tmp_path / "venv"))
    assert done.returncode == 0
    assert "--virtual N" in done.stdout
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("args", [["--virtual"], ["--virtual", "0"], ["--virtual", "x"], ["--virtual="]])
def test_wrong_usage_is_2_before_anything_is_made(tmp_path: Path, args: list[str]) -> None:
    done = run(*args, BITRELAY_VENV=str(tmp_path / "venv"))
    assert done.returncode == 2
    assert done.stderr.startswith("flash.sh: ")
    assert "./flash.sh --virtual 3" in done.stderr or "number of boards" in done.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("args", [[], ["--json"], ["-p", "/dev/tty USB0", "--erase", "--name", "a b"]])
def test_everything_else_goes_to_the_flash_command(tmp_path: Path, args: list[str]) -> None:
    venv = tmp_path / "venv"
    environment_made(venv, 'printf "%s\\n" "$*" >&2')
    first = run(*args, cwd=tmp_path, BITRELAY_VENV=str(venv))
    assert first.stdout == "[flash]" + "".join(f"[{arg}]" for arg in args)
    second = run(*args, BITRELAY_VENV=str(venv))
    assert (second.returncode, second.stdout, second.stderr) == (0, first.stdout, "")
    # For a real board nothing of the lab is installed, and a lab that is asked for later is.
    assert (venv / "bitrelay-installed").read_text().split()[1:] == []
    run("--virtual", "1", BITRELAY_VENV=str(venv))
    assert (venv / "bitrelay-installed").read_text().split()[1:] == ["lab"]
    assert (venv / "install.log").read_text().rstrip().endswith(f"--editable {ROOT}[lab]")


def test_the_exit_code_is_that_of_the_command(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    environment_made(venv, "true")
    program(venv / "bin/bitrelay", "exit 84")
    assert run(BITRELAY_VENV=str(venv)).returncode == 84


def test_options_go_to_the_demo_from_any_directory(tmp_path: Path) -> None:
    venv = tmp_path / "a venv"
    environment_made(venv, "echo Collecting pyserial")
    args = ["--json", "--virtual", "3", "--frames", "7"]
    first = run(*args, cwd=tmp_path, BITRELAY_VENV=str(venv))
    assert first.stdout == "[lab][demo][--boards][3][--json][--frames][7]"
    assert "pyserial" in first.stderr
    second = run(*args, cwd=tmp_path, BITRELAY_VENV=str(venv))
    assert (second.returncode, second.stdout, second.stderr) == (0, first.stdout, "")


def test_ctrl_c_while_it_installs_is_130_and_quiet(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    environment_made(venv, "echo Collecting pyserial; exec cat")
    process = subprocess.Popen(
        [str(ROOT / "flash.sh"), "--virtual", "1"],
        env=os.environ | {"BITRELAY_VENV": str(venv)},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    while "pyserial" not in (line := process.stderr.readline()):
        assert line
    os.killpg(process.pid, signal.SIGINT)
    _, rest = finish(process)
    assert process.returncode == 130
    assert rest == ""
    assert not (venv / "bitrelay-installed").exists()


def test_a_directory_that_is_no_environment_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    done = run("--virtual", "1", BITRELAY_VENV=str(tmp_path))
    assert done.returncode == 1
    assert "is in the way" in done.stderr
    assert (tmp_path / "precious").exists()


def test_without_python_it_says_what_is_needed(tmp_path: Path, bare_path: Path) -> None:
    done = run("--virtual", "1", PATH=str(bare_path), BITRELAY_VENV=str(tmp_path / "venv"))
    assert done.returncode == 1
    assert "Python 3.11 to 3.14 is needed and not found" in done.stderr


def test_without_the_venv_module_it_says_what_to_install(tmp_path: Path, bare_path: Path) -> None:
    program(bare_path / "python3", 'case "$*" in *ensurepip*) exit 1 ;; esac')
    done = run("--virtual", "1", PATH=str(bare_path), BITRELAY_VENV=str(tmp_path / "venv"))
    assert done.returncode == 1
    assert "sudo apt install python3-venv" in done.stderr


def test_a_failed_installation_shows_why_and_is_tried_again(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    environment_made(venv, 'echo "ERROR: no space left"; exit 1')
    for _ in range(2):
        done = run("--virtual", "1", BITRELAY_VENV=str(venv))
        assert done.returncode == 1
        assert "no space left" in done.stderr
        assert "the installation failed" in done.stderr
    assert not (venv / "bitrelay-installed").exists()
