"""A frame crosses a relay."""

import json
import subprocess
import sys
from typing import Any

from bench import asked, bitrelay

TEXT = "a frame for the bench"
ROUNDS = 5


def test_a_frame_from_the_first_relay_is_heard_by_the_last(line: list[str]) -> None:
    first, middle, last = line
    before = asked("stats", "--port", middle)["counters"]
    heard: list[dict[str, Any]] = []
    # On a bench there may be phones, whose frames the last relay hears, too.
    for _ in range(ROUNDS):
        heard = [told for told in _what_is_heard(first, last) if TEXT.encode().hex() in told.get("frame", "")]
        if heard:
            break
    # Sent with a TTL of 7; whoever forwards it lowers that.
    assert heard and heard[0]["decoded"]["ttl"] <= 6
    after = asked("stats", "--port", middle)["counters"]
    assert after["forwarded"] > before["forwarded"]


def _what_is_heard(sender: str, listener: str) -> list[dict[str, Any]]:
    command = ["listen", "--port", listener, "--count", "1", "--seconds", "20", "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "bitrelay", *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as listening:
        try:
            while listening.poll() is None:
                # It fails for as long as the relays have not found one another.
                bitrelay("send", "--port", sender, "--text", TEXT)
        finally:
            listening.kill()
        assert listening.stdout is not None
        return [json.loads(text) for text in listening.stdout]
