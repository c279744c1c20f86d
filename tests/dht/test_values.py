"""What a value is, and that nobody but its owner makes one."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrelay.dht.messages import MAX_DATA, SignedValue
from bitrelay.dht.values import MAX_AHEAD_S, MAX_LIFETIME_S, Fault, Kind, fault_of, is_later, key_of, latest, sign

from .small_network import EPOCH, keys

NOW = EPOCH


def value(number: int = 1, **fields: Any) -> SignedValue:
    options = {"now": NOW, "lifetime_s": 3600, "sequence": 5} | fields
    return sign(keys(number), Kind.GATEWAY, options.pop("name", "mesh"), options.pop("data", b"here"), **options)


def test_a_signed_value_counts_until_it_expires() -> None:
    assert fault_of(value(), NOW) is None
    assert fault_of(value(), NOW + 3599) is None
    assert fault_of(value(), NOW + 3600) is Fault.EXPIRED


@pytest.mark.parametrize(
    "change",
    [
        {"kind": 2},
        {"name": "other"},
        {"owner": keys(2).signing_key},
        {"sequence": 6},
        {"created_at": int(NOW) - 1},
        {"expires_at": int(NOW) + 3601},
        {"data": b"there"},
        {"signature": bytes(64)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_no_part_of_it_can_be_altered(change: dict[str, Any]) -> None:
    assert fault_of(replace(value(), **change), NOW) is Fault.FORGED


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"kind": 99}, Fault.FORM),
        ({"kind": -1}, Fault.FORM),
        ({"name": ""}, Fault.FORM),
        ({"name": "a" * 65}, Fault.FORM),
        ({"name": "\ud800"}, Fault.FORM),
        ({"name": "a\x1b[2J"}, Fault.FORM),
        ({"data": bytes(MAX_DATA + 1)}, Fault.FORM),
        ({"owner": b"short"}, Fault.FORM),
        ({"signature": b""}, Fault.FORM),
        ({"sequence": 1 << 64}, Fault.FORM),
        ({"sequence": -1}, Fault.FORM),
        ({"expires_at": int(NOW)}, Fault.LIFETIME),
        ({"expires_at": int(NOW) + MAX_LIFETIME_S + 1}, Fault.LIFETIME),
    ],
)
def test_what_is_out_of_range_is_no_value(change: dict[str, Any], fault: Fault) -> None:
    assert fault_of(replace(value(), **change), NOW) is fault


@pytest.mark.requirement("DHT-22")
def test_a_value_lasts_a_day_at_most_and_is_not_from_the_future() -> None:
    day = value(lifetime_s=MAX_LIFETIME_S)
    assert fault_of(day, NOW + MAX_LIFETIME_S - 1) is None
    assert MAX_LIFETIME_S == 86_400
    with pytest.raises(ValueError, match="too long"):
        value(lifetime_s=MAX_LIFETIME_S + 1)
    assert fault_of(day, NOW - MAX_AHEAD_S) is None
    assert fault_of(day, NOW - MAX_AHEAD_S - 1) is Fault.EARLY


def test_a_key_depends_on_kind_and_name() -> None:
    assert len({key_of(kind, name) for kind in Kind for name in ("a", "b", "\x20a")}) == 9
    for kind, name in ((1, ""), (256, "a"), (-1, "a"), (1, "a" * 65)):
        with pytest.raises(ValueError):
            key_of(kind, name)


def test_of_each_owner_the_latest_counts_whatever_the_order() -> None:
    older, newer, other = value(sequence=1), value(sequence=2), value(2)
    expected = tuple(sorted((newer, other), key=lambda v: v.owner))
    assert latest([older, other, newer]) == latest([newer, older, other]) == expected


@given(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_all_come_to_the_same_latest(s1: int, s2: int, t1: int, t2: int) -> None:
    one, two = (replace(value(), sequence=s, created_at=t) for s, t in ((s1, t1), (s2, t2)))
    assert is_later(one, two) + is_later(two, one) == (one != two)


@given(st.builds(
    SignedValue,
    st.integers(),
    st.text(),
    st.binary(max_size=40),
    st.integers(),
    st.integers(),
    st.integers(),
    st.binary(max_size=600),
    st.binary(max_size=70),
))  # fmt: skip
def test_whatever_comes_is_judged_without_an_exception(found: SignedValue) -> None:
    assert fault_of(found, NOW) is not None
