"""Runs `bitrelay` as a script would."""

import json
import subprocess
import sys
from typing import Any

DEADLINE_S = 30
FRAME = "01020701020304050607080000031011121314151617aabbcc"


def start(*args: str, **options: Any) -> "subprocess.Popen[str]":
    settings: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-m", "bitrelay", *args], text=True, **(settings | options))


def finish(process: "subprocess.Popen[str]", given: str | None = None) -> tuple[str, str]:
    """What the process still writes until it ends; it is killed if it does not."""
    try:
        return process.communicate(given, timeout=DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise


def run(*args: str, given: str | None = None) -> "subprocess.CompletedProcess[str]":
    process = start(*args, stdin=subprocess.PIPE if given is not None else subprocess.DEVNULL)
    out, err = finish(process, given)
    assert "Traceback" not in out + err
    return subprocess.CompletedProcess(args, process.returncode, out, err)


def ask(*args: str) -> Any:
    """The one JSON document that a command prints."""
    done = run(*args, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)
