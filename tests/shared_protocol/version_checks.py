# Versions and hellos, on either interpreter.
from shared_protocol import frame, hello, versions
from shared_protocol.versions import FULL, INCOMPATIBLE, LEGACY, LIMITED

ALL = versions.features_of(versions.CURRENT)


def check_version_texts():
    for version in ((0, 0, 0), (1, 0, 0), versions.CURRENT, (255, 255, 255), (10, 20, 30)):
        assert versions.parse(versions.text(version)) == version
    assert versions.text((1, 4, 0)) == "1.4.0"
    for text in (
        "",
        "1",
        "1.4",
        "1.4.0.0",
        "1.4.",
        ".4.0",
        "1..0",
        "01.4.0",
        "1.4.00",
        "1.4.256",
        "1.4.-1",
        "+1.4.0",
        " 1.4.0",
        "1.4.0\n",
        "v1.4.0",
        "1.4.0-rc1",
        "1.4.x",
        "1.\u0664.0",
        "1.4." + "9" * 4000,
    ):
        assert versions.parse(text) is None, text


def check_versions_compare():
    ordered = ["0.9.9", "1.0.0", "1.0.1", "1.1.0", "1.2.255", "1.10.0", "2.0.0"]
    parsed = [versions.parse(text) for text in ordered]
    for at in range(1, len(parsed)):
        assert parsed[at - 1] < parsed[at], ordered[at]


def check_what_each_version_brought():
    since = {"1.0.0": 1, "1.1.0": 2, "1.2.0": 4, "1.3.0": 8, "1.4.0": 16, "2.0.0": 32}
    expected = 0
    for text in ("0.9.9", "1.0.0", "1.0.9", "1.1.0", "1.2.0", "1.3.0", "1.3.255", "1.4.0", "1.9.0", "2.0.0", "3.1.4"):
        expected |= since.get(text, 0)
        assert versions.features_of(versions.parse(text)) == expected, text
    assert versions.BASE == (1, 0, 0) and versions.CURRENT == (1, 4, 0)
    assert versions.names_of(0b10011) == ["basic-mesh", "gateway-nodes", "proof-of-relay"]


def check_negotiation():
    table = (
        ("1.4.0", "1.4.0", "1.4.0", ALL, FULL),
        ("1.0.0", "1.0.0", "1.0.0", 1, FULL),
        ("1.4.0", "1.4.7", "1.4.0", ALL, FULL),
        ("1.2.0", "1.1.0", "1.1.0", 3, LIMITED),
        ("1.4.0", "1.0.0", "1.0.0", 1, LIMITED),
        ("1.4.0", "1.9.0", "1.4.0", ALL, LIMITED),
        ("1.4.0", "2.0.0", "0.0.0", 0, INCOMPATIBLE),
        ("1.4.0", "0.9.0", "0.0.0", 0, INCOMPATIBLE),
        ("0.1.0", "0.1.0", "0.0.0", 0, INCOMPATIBLE),
        ("1.4.0", "255.255.255", "0.0.0", 0, INCOMPATIBLE),
    )
    for one, other, version, features, mode in table:
        one, other = versions.parse(one), versions.parse(other)
        expected = (versions.parse(version), features, mode)
        assert versions.negotiate(one, other) == versions.negotiate(other, one) == expected, (one, other)


def check_below_the_minimum_the_least_is_left():
    least = ((1, 0, 0), versions.BASIC_MESH, LEGACY)
    assert versions.negotiate((1, 4, 0), (1, 1, 0), (1, 2, 0), (1, 0, 0)) == least
    assert versions.negotiate((1, 1, 0), (1, 4, 0), (1, 0, 0), (1, 2, 0)) == least
    assert versions.negotiate((1, 4, 0), (1, 2, 0), (1, 2, 0), (1, 0, 0))[2] == LIMITED
    assert least == versions.LEGACY_TERMS
    # Another major is another protocol, whatever the minimum says.
    assert versions.negotiate((1, 4, 0), (2, 0, 0), (1, 0, 0), (1, 0, 0))[2] == INCOMPATIBLE


def check_a_feature_counts_only_if_both_have_it():
    without = ALL & ~versions.COMPRESSION_V2
    agreed = versions.negotiate(versions.CURRENT, versions.CURRENT, announced=without)
    assert agreed == (versions.CURRENT, without, LIMITED)
    # Bits that a version does not have, or that nobody has named, turn nothing on; the mesh itself cannot be off.
    assert versions.negotiate((1, 1, 0), (1, 4, 0), announced=0xFFFFFFFF)[1] == 3
    assert versions.negotiate(versions.CURRENT, versions.CURRENT, announced=0)[1] == versions.BASIC_MESH


def check_what_may_be_sent():
    for type in (frame.TYPE_ANNOUNCE, frame.TYPE_MESSAGE, frame.TYPE_FRAGMENT, 0xAF, 0xC0, 0xFF):
        assert versions.may_send(type, versions.BASIC_MESH) and not versions.may_send(type, 0)
    for features in (0, 1, ALL):
        assert versions.may_send(frame.TYPE_HELLO, features)
    allowed = lambda features: [type for type in range(0xB1, 0xC0) if versions.may_send(type, features)]  # noqa: E731
    assert allowed(0) == []
    assert allowed(versions.BASIC_MESH) == [0xB1, 0xB2, 0xB3]
    assert allowed(versions.features_of((1, 1, 0))) == list(range(0xB1, 0xB8))
    assert allowed(versions.features_of((1, 2, 0))) == list(range(0xB1, 0xBC))
    assert allowed(versions.features_of((1, 3, 0))) == list(range(0xB1, 0xBC))
    assert allowed(ALL) == list(range(0xB1, 0xC0))


def check_hello_round_trips():
    full = hello.encode(on_air_id=b"on-air-1", peer_id=b"p" * 32, capabilities=2)
    assert len(full) == 57
    fixed = {"version": (1, 4, 0), "minimum": (1, 0, 0), "features": ALL}
    ids = {"on_air_id": b"on-air-1", "peer_id": b"p" * 32, "capabilities": 2}
    ids.update(fixed)
    assert hello.parse(full) == hello.parse(memoryview(bytearray(full))) == ids
    assert hello.parse(hello.encode()) == fixed
    assert hello.encode((1, 0, 0)) == b"\x01\0\0\x01\0\0\0\0\0\x01"


def check_hello_from_the_future():
    fixed = hello.encode((1, 9, 0), features=0xFFFFFFFF)
    found = hello.parse(fixed + b"\x63\x03new" + b"\x01\x0aon-air-1++" + b"\x03\x02\x02\x07" + b"\x64\0")
    assert found["features"] == 0xFFFFFFFF and found["version"] == (1, 9, 0)
    assert found["on_air_id"] == b"on-air-1" and found["capabilities"] == 2
    assert "peer_id" not in found and len(found) == 5


def check_no_hello():
    good = hello.encode(on_air_id=b"on-air-1")
    for size in range(len(good)):
        # Without fields it is a hello of the first version; cut anywhere else it is none.
        assert (hello.parse(good[:size]) is None) == (size != hello.FIXED_SIZE), size
    for more in (b"\x01\x07on-air-", b"\x02\0", b"\x03\0", b"\x09\x05four", b"\x63\xff" + bytes(255)):
        assert hello.parse(good + more) is None, more
    for arguments in (
        {"version": (1, 0, 0), "minimum": (1, 1, 0)},
        {"version": (1, 256, 0)},
        {"features": 1 << 32},
        {"features": -1},
        {"on_air_id": b"short"},
        {"peer_id": b"p" * 33},
        {"capabilities": 256},
    ):
        try:
            hello.encode(**arguments)
        except ValueError:
            continue
        raise AssertionError(arguments)


def check_two_hellos_agree():
    now, first = hello.encode(on_air_id=b"on-air-1"), hello.encode((1, 0, 0))
    assert hello.agree(now, now) == (versions.CURRENT, ALL, FULL)
    assert hello.agree(now, first) == hello.agree(first, now) == ((1, 0, 0), versions.BASIC_MESH, LIMITED)
    # Who leaves a feature out says so with the version unchanged.
    lean = hello.encode(features=ALL & ~versions.COMPRESSION_V2)
    assert hello.agree(now, lean) == hello.agree(lean, now) == (versions.CURRENT, ALL & ~8, LIMITED)
    strict = hello.encode(minimum=(1, 2, 0))
    assert hello.agree(strict, first) == hello.agree(first, strict) == versions.LEGACY_TERMS
    later = hello.encode((2, 0, 0), (2, 0, 0), 0xFFFFFFFF)
    assert hello.agree(now, later) == hello.agree(later, now) == ((0, 0, 0), 0, INCOMPATIBLE)


CHECKS = [name for name in globals() if name.startswith("check_")]
CHECKS.sort()


# What comes of hellos that were bent, in a number: parse() must not raise, and both interpreters must agree.
def outcome():
    seed, verdict = 7, 0
    good = hello.encode(on_air_id=b"on-air-1", peer_id=b"p" * 32, capabilities=2)
    own = hello.encode()
    for _ in range(3000):
        seed = (seed * 1103515245 + 12345) & 0x3FFFFFFF
        bent = bytearray(good)
        for _ in range(1 + (seed >> 9) % 4):
            seed = (seed * 1103515245 + 12345) & 0x3FFFFFFF
            bent[(seed >> 8) % len(bent)] = seed >> 16 & 255
        bent = bent[: (seed >> 5) % (len(bent) + 8)]
        found = hello.parse(bent)
        verdict = verdict * 31 + (0 if found is None else len(found)) & 0xFFFFFF
        if found is not None:
            version, features, mode = hello.agree(own, bent)
            verdict = verdict * 31 + sum(version) + features + mode & 0xFFFFFF
    return verdict
