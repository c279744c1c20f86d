"""The proof of work and the identity record: their vectors on both interpreters, and their signatures."""

import json
from pathlib import Path
from typing import Any

import pow_checks
import pytest
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from shared_protocol import identity_record, pow

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "pow.json").read_text(encoding="utf-8")
)
BY_NAME = {vector["name"]: vector for vector in VECTORS}

each_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])


@pytest.mark.requirement("POW-04", "POW-05")
@each_vector
def test_vector_on_cpython(vector: dict[str, Any]) -> None:
    pow_checks.check_vector(vector)


@pytest.mark.requirement("POW-42")
@each_vector
def test_vector_on_micropython(vector: dict[str, Any], on_micropython: Any) -> None:
    problem = on_micropython.problem(vector["name"])
    assert problem is None, problem


def test_mutated_records_raise_nowhere_and_are_judged_alike(on_micropython: Any) -> None:
    assert pow_checks.outcome(VECTORS) == on_micropython.outcome("records")


@pytest.mark.requirement("POW-06")
def test_the_signatures_of_the_record_hold() -> None:
    found: Any = identity_record.parse(bytes.fromhex(BY_NAME["record_canonical"]["hex"]))
    key = VerifyKey(found["signing_key"])
    key.verify(pow.signed_part(found["challenge_data"], found["nonce"]), found["pow_signature"])
    key.verify(identity_record.signed_part(found["body"]), found["record_signature"])
    with pytest.raises(BadSignatureError):
        key.verify(found["body"], found["record_signature"])
    solved = (found["challenge_data"], found["nonce"], found["signing_key"], found["challenge_timestamp"])
    assert pow.solves(*solved, found["difficulty"])


def test_the_numbers() -> None:
    assert (pow.DIFFICULTY_BASE, pow.DIFFICULTY_MAX) == (16, 24)
    assert (pow.CHALLENGE_S, pow.IDENTITY_S, pow.REFRESH_S) == (3600, 604_800, 86_400)
