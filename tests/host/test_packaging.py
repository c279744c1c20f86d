"""A wheel carries everything and works where there is no clone."""

import json
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 100

# -S: no .pth file of the tests' environment may put the clone on the path; the libraries' folder is added by hand.
_OUTSIDE = "import sys; sys.path[:0] = [sys.argv.pop(1), sys.argv.pop(1)]; exec(sys.argv.pop(1))"


def build(kind: str, source: Path, target: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)],
        cwd=source,
        check=True,
        capture_output=True,
        timeout=DEADLINE_S,
    )
    (made,) = target.iterdir()
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-index",
        "--no-deps",
    ]
    subprocess.run([*command, "--target", str(target), str(wheel)], check=True, timeout=DEADLINE_S)
    return target


def run_outside(installed: Path, tmp_path: Path, code: str, *args: str) -> str:
    """Run code with the installed wheel and the libraries, and without the clone; what it prints."""
    libraries = sysconfig.get_path("purelib")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _OUTSIDE, str(installed), libraries, code, *args],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_carries_what_the_clone_has(wheel: Path) -> None:
    carried = names_in(wheel)
    trees = {"host/bitrelay": "bitrelay", "shared_protocol": "shared_protocol"}
    trees |= {"firmware": "bitrelay/_tree/firmware", "boards": "bitrelay/_tree/boards"}
    for source, target in trees.items():
        for path in (ROOT / source).rglob("*"):
            if path.is_file() and path.suffix in (".py", ".toml", ".typed"):
                assert f"{target}/{path.relative_to(ROOT / source)}" in carried


def test_the_wheel_carries_nothing_else(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in names_in(wheel)}
    assert tops == {"bitrelay", "shared_protocol", "bitrelay-0.1.0.dist-info"}
    assert not [name for name in names_in(wheel) if "__pycache__" in name or name.endswith(".mpy")]


def test_the_trees_are_found_outside_the_clone(installed: Path, tmp_path: Path) -> None:
    code = "from bitrelay.tree import *; print(firmware_dir() / 'main.py', boards_dir(), shared_dir(), sep='\\n')"
    main, boards, shared = map(Path, run_outside(installed, tmp_path, code).splitlines())
    for path in (main, boards, shared):
        assert path.is_relative_to(installed)
        assert path.exists()


def test_the_command_works_outside_the_clone(installed: Path, tmp_path: Path) -> None:
    code = "from bitrelay.__main__ import main; main()"
    frame = "01020701020304050607080000031011121314151617aabbcc"
    assert json.loads(run_outside(installed, tmp_path, code, "decode", frame, "--json"))["frame_len"] == 25
    assert "lab" in run_outside(installed, tmp_path, code, "--help")


def test_a_wheel_made_from_the_sdist_is_the_same(wheel: Path, tmp_path: Path) -> None:
    sdist = build("sdist", ROOT, tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    assert names_in(build("wheel", source, tmp_path / "again")) == names_in(wheel)


def test_every_board_has_its_file() -> None:
    boards = {path.stem: tomllib.loads(path.read_text()) for path in (ROOT / "boards").glob("*.toml")}
    assert {"esp32_generic", "esp32_generic_c3", "esp32_generic_s3"} <= boards.keys()
    for board in boards.values():
        assert board["chip"].startswith("esp32")
        assert board["micropython"]["flash_offset"] in (0, 0x1000)
        assert 2 <= board["limits"]["links"] <= 9
