"""The golden vectors hold on both interpreters, and for `bitrelay decode`."""

import json
from pathlib import Path
from typing import Any

import pytest
import vector_checks

from bitrelay.decode import FrameError, decode

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "bitchat.json").read_text())

each_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
each_packet = pytest.mark.parametrize(
    "vector", [vector for vector in VECTORS if vector["kind"] == "packet"], ids=lambda vector: vector["name"]
)
FIELDS = {
    "version",
    "type",
    "ttl",
    "timestamp",
    "flags",
    "sender",
    "recipient",
    "route",
    "payload_len",
    "payload",
    "signature",
    "compressed",
    "rsr",
    "frame_len",
}


@each_vector
def test_on_cpython(vector: dict[str, Any]) -> None:
    vector_checks.check(vector)


@each_vector
def test_on_micropython(vector: dict[str, Any], on_micropython: Any) -> None:
    problem = on_micropython.problem(vector["name"])
    assert problem is None, problem


@each_packet
def test_decode(vector: dict[str, Any]) -> None:
    data = vector_checks.bytes_of(vector)
    if not vector["valid"]:
        with pytest.raises(FrameError):
            decode(data)
        return
    expected = {name: value for name, value in vector["fields"].items() if name in FIELDS}
    decoded = decode(data)
    assert decoded.pop("original_size", None) == (expected["payload_len"] if expected["compressed"] else None)
    if "fill" in vector:
        # The vectors leave out a payload of a megabyte.
        expected["payload"] = decoded["payload"]
    assert decoded == expected


def test_all_kinds_are_here() -> None:
    kinds = {vector["kind"] for vector in VECTORS}
    assert kinds == {
        "packet",
        "fragment",
        "pad_size",
        "relay",
        "notify_stream",
        "announce",
        "capabilities",
        "ping",
        "identity",
    }
