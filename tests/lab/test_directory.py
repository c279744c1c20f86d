"""A lab's directory goes with its process, if not at once then with the next lab."""

import subprocess
import sys
from pathlib import Path

from bitrelay.lab.directory import claimed_directory, remove_abandoned

KILLED = """
import os, signal, sys
from pathlib import Path
from bitrelay.lab.directory import claimed_directory
with claimed_directory(Path(sys.argv[1])) as directory:
    (directory / "file").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_directory_is_gone_after_use(tmp_path: Path) -> None:
    with claimed_directory(tmp_path) as directory:
        (directory / "file").touch()
    assert list(tmp_path.iterdir()) == []


def test_only_what_a_killed_lab_left_is_removed(tmp_path: Path) -> None:
    foreign = tmp_path / "bitrelay-lab-without-claim"
    foreign.mkdir()
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    (left,) = set(tmp_path.iterdir()) - {foreign}
    assert (left / "file").exists()
    with claimed_directory(tmp_path) as living:
        assert not left.exists()
        remove_abandoned(tmp_path)
        assert set(tmp_path.iterdir()) == {foreign, living}


def test_links_are_not_followed(tmp_path: Path) -> None:
    aim = tmp_path / "aim"
    aim.mkdir()
    (aim / "lab.pid").touch()
    (tmp_path / "bitrelay-lab-link").symlink_to(aim)
    remove_abandoned(tmp_path)
    assert (aim / "lab.pid").exists()
