"""What is agreed between any two versions, against the rules written down once more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_protocol import hello, versions

Version = tuple[int, int, int]
numbers = st.integers(0, 255)
any_version = st.tuples(numbers, numbers, numbers)
near_version = st.tuples(st.integers(0, 2), st.integers(0, 6), st.integers(0, 2))


@pytest.mark.requirement("VER-01")
@given(any_version, any_version)
def test_versions_are_semantic(one: Version, other: Version) -> None:
    texts = [".".join(str(number) for number in version) for version in (one, other)]
    parsed = [versions.parse(text) for text in texts]
    assert parsed == [one, other] and [versions.text(version) for version in (one, other)] == texts
    # Major before minor before patch, as numbers: 1.10.0 comes after 1.9.0.
    weight = [version[0] * 65536 + version[1] * 256 + version[2] for version in (one, other)]
    assert (one < other) == (weight[0] < weight[1])


@given(st.text(alphabet="0123456789.-+ v٤", max_size=12))
def test_no_text_raises(text: str) -> None:
    version = versions.parse(text)
    assert version is None or versions.text(version) == text


@pytest.mark.requirement("VER-03", "VER-04", "VER-05", "VER-06", "VER-07")
@pytest.mark.parametrize(
    ("feature", "name", "first", "last_without"),
    [
        (versions.BASIC_MESH, "basic-mesh", (1, 0, 0), (0, 255, 255)),
        (versions.GATEWAY_NODES, "gateway-nodes", (1, 1, 0), (1, 0, 255)),
        (versions.ENHANCED_ROUTING, "enhanced-routing", (1, 2, 0), (1, 1, 255)),
        (versions.COMPRESSION_V2, "compression-v2", (1, 3, 0), (1, 2, 255)),
        (versions.PROOF_OF_RELAY, "proof-of-relay", (1, 4, 0), (1, 3, 255)),
        (versions.CROSS_CHAIN, "cross-chain", (2, 0, 0), (1, 255, 255)),
    ],
)
def test_each_feature_has_its_first_version(feature: int, name: str, first: Version, last_without: Version) -> None:
    assert versions.features_of(first) & feature and not versions.features_of(last_without) & feature
    assert name in versions.names_of(versions.features_of(first))
    assert name not in versions.names_of(versions.features_of(last_without))


@pytest.mark.requirement("VER-10", "VER-12", "VER-13", "VER-16")
@given(near_version, near_version, near_version, near_version, st.integers(0, 63))
def test_both_ends_come_to_the_same(one: Version, other: Version, least: Version, most: Version, both: int) -> None:
    agreed = versions.negotiate(one, other, least, most, both)
    assert agreed == versions.negotiate(other, one, most, least, both)
    version, features, mode = agreed
    if one[0] != other[0] or one[0] == 0:
        assert (version, features, mode) == ((0, 0, 0), 0, versions.INCOMPATIBLE)
    elif one < most or other < least:
        assert (version, features, mode) == ((one[0], 0, 0), versions.BASIC_MESH, versions.LEGACY)
    else:
        assert version == min(one, other)
        assert features == versions.features_of(version) & (both | versions.BASIC_MESH)
        everything = one[:2] == other[:2] and features == versions.features_of(one)
        assert mode == (versions.FULL if everything else versions.LIMITED)


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_no_hello_raises(one: bytes, other: bytes) -> None:
    if hello.parse(one) is not None and hello.parse(other) is not None:
        assert hello.agree(one, other) == hello.agree(other, one)
