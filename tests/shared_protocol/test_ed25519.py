"""Ed25519, SHA-512 and X25519's public key as a board computes them, against the RFCs and two libraries."""

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import curve_reference as curve
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey

from shared_protocol import comb25519, ed25519, sha512
from shared_protocol.ed25519 import finish

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RFC8032 = json.loads((HERE.parent / "vectors" / "rfc8032.json").read_text())
# RFC 7748, section 6.1: secrets and public keys.
RFC7748 = (
    (
        "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
    ),
    (
        "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
    ),
)
# FIPS 180-4's examples: "abc", and a message of two blocks.
ABC = (
    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
)
TWO_BLOCKS = (
    "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018"
    "501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909"
)

OnMicroPython = Callable[..., list[bool | str]]
Case = tuple[str, bytes, bytes, bytes]


@pytest.fixture(scope="module")
def run_on_micropython(tmp_path_factory: pytest.TempPathFactory) -> OnMicroPython:
    """Results of [operation, argument, ...] each, by the machine code or (plain=True) without it."""

    def run(asked: list[list[str]], plain: bool = False) -> list[bool | str]:
        file = tmp_path_factory.mktemp("asked") / "asked.json"
        file.write_text(json.dumps(asked))
        command = [str(Path(sys.executable).parent / "micropython"), "-X", "heapsize=4m"]
        done = subprocess.run(
            [*command, str(HERE / "crypto_on_micropython.py"), str(file), *(["plain"] if plain else [])],
            env=dict(os.environ, MICROPYPATH=f"{ROOT}:{HERE}:.frozen"),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        results: list[bool | str] = json.loads(done.stdout)
        return results

    return run


def on_cpython(asked: list[list[str]]) -> list[bool | str]:
    results: list[bool | str] = []
    for operation, *hexadecimal in asked:
        arguments = [bytes.fromhex(argument) for argument in hexadecimal]
        if operation == "sha512":
            results.append(bytes(finish(sha512.own_steps(*arguments))).hex())
        elif operation == "verify":
            results.append(finish(ed25519.verify_steps(*arguments)))
        else:
            steps = {
                "public": ed25519.public_key_steps,
                "sign": ed25519.sign_steps,
                "x25519": ed25519.x25519_public_steps,
            }[operation]
            results.append(finish(steps(*arguments)).hex())
    return results


def everywhere(run_on_micropython: OnMicroPython, asked: list[list[str]]) -> Iterator[list[bool | str]]:
    """The results of CPython, of MicroPython's machine code, and of MicroPython without it."""
    yield on_cpython(asked)
    yield run_on_micropython(asked)
    yield run_on_micropython(asked, plain=True)


def some_bytes(source: random.Random, size: int) -> str:
    return source.randbytes(size).hex()


def test_vectors_of_rfc_8032(run_on_micropython: OnMicroPython) -> None:
    asked = []
    wanted = []
    for vector in RFC8032:
        seed, key, message, signature = (vector[n] for n in ("seed", "public_key", "message", "signature"))
        asked += [["public", seed], ["sign", seed, key, message], ["verify", key, message, signature]]
        wanted += [key, signature, True]
    for results in everywhere(run_on_micropython, asked):
        assert results == wanted


def test_signatures_are_libsodiums_and_libsodiums_are_valid(run_on_micropython: OnMicroPython) -> None:
    source = random.Random(8032)
    asked = []
    wanted = []
    for size in (0, 1, 63, 64, 95, 96, 111, 112, 127, 128, 200, 256, 512, 1100):
        seed = source.randbytes(32)
        message = source.randbytes(size)
        key = SigningKey(seed)
        public = bytes(key.verify_key).hex()
        # Ed25519 leaves nothing to chance: that ours is the same means that libsodium verifies it.
        signature = key.sign(message).signature
        changed = bytearray(signature)
        changed[source.randrange(64)] ^= 1 << source.randrange(8)
        asked += [
            ["public", seed.hex()],
            ["sign", seed.hex(), public, message.hex()],
            ["verify", public, message.hex(), signature.hex()],
            ["verify", public, message.hex(), changed.hex()],
            ["verify", public, (message + b"\0").hex(), signature.hex()],
        ]
        wanted += [public, signature.hex(), True, False, False]
    for results in everywhere(run_on_micropython, asked):
        assert results == wanted


def test_public_keys_of_x25519(run_on_micropython: OnMicroPython) -> None:
    source = random.Random(7748)
    secrets = [bytes(32), b"\xff" * 32, *(source.randbytes(32) for _ in range(6))]
    asked = [["x25519", secret] for secret, _ in RFC7748]
    wanted = [public for _, public in RFC7748]
    for secret in secrets:
        public = X25519PrivateKey.from_private_bytes(secret).public_key()
        asked.append(["x25519", secret.hex()])
        wanted.append(public.public_bytes(Encoding.Raw, PublicFormat.Raw).hex())
    for results in everywhere(run_on_micropython, asked):
        assert results == wanted


def test_sha512(run_on_micropython: OnMicroPython) -> None:
    message = "".join("abcdefghijklmnopqrstu"[i : i + 8] for i in range(14)).encode()
    asked = [["sha512", b"abc".hex()], ["sha512", message.hex()]]
    wanted = [ABC, TWO_BLOCKS]
    source = random.Random(180)
    # Around the ends of blocks, and where the length begins to need a block of its own.
    for size in (0, 1, 55, 56, 110, 111, 112, 113, 119, 120, 127, 128, 129, 239, 240, 241, 255, 256, 257, 1000):
        data = source.randbytes(size)
        asked.append(["sha512", data.hex()])
        wanted.append(hashlib.sha512(data).hexdigest())
    for _ in range(30):
        parts = [source.randbytes(source.choice((0, 1, 32, 63, 64, 127, 128, 129, 300))) for _ in range(4)]
        asked.append(["sha512", *(part.hex() for part in parts)])
        wanted.append(hashlib.sha512(b"".join(parts)).hexdigest())
    asked.append(["sha512"])
    wanted.append(hashlib.sha512().hexdigest())
    for results in everywhere(run_on_micropython, asked):
        assert results == wanted


def libsodium_accepts(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        crypto_sign_open(signature + message, key)
    except BadSignatureError:
        return False
    return True


SECRET = 0x123456789ABCDEF
NONCE = 0xFEDCBA987654321
SMALL = curve.small_order_points()


def signature_of(key: bytes, point: bytes, nonce: int, secret: int, message: bytes) -> bytes:
    answer = (nonce + curve.hashed(point, key, message) * secret) % curve.ORDER
    return point + curve.as_bytes(answer)


def holds(key: bytes, message: bytes, signature: bytes) -> bool:
    """The equation without the cofactor, and nothing else."""
    public = curve.decoded(key)
    point = curve.decoded(signature[:32])
    if public is None or point is None:
        return False
    answer = int.from_bytes(signature[32:], "little")
    left = curve.times(answer, curve.BASE)
    right = curve.plus(point, curve.times(curve.hashed(signature[:32], key, message), public))
    return left == right


def a_message_for(wanted: Callable[[bytes], bool]) -> bytes:
    return next(message for message in (b"message %d" % i for i in range(1000)) if wanted(message))


def encodings_of_small_order() -> list[bytes]:
    """Every 32 bytes that any decoder takes for a point of order 1, 2, 4 or 8: y + p, and a sign where x is 0."""
    found = []
    for y in sorted({point[1] for point in SMALL}):
        for number in (y, y + curve.P):
            if number < 2**255:
                found += [curve.as_bytes(number), curve.as_bytes(number | 2**255)]
    return found


def cases_of_answers() -> Iterator[Case]:
    key = curve.encoded(curve.times(SECRET, curve.BASE))
    point = curve.encoded(curve.times(NONCE, curve.BASE))
    signature = signature_of(key, point, NONCE, SECRET, b"m")
    answer = int.from_bytes(signature[32:], "little")
    yield "a good one", key, b"m", signature
    for i in range(1, 15):
        yield f"S + {i} L", key, b"m", point + curve.as_bytes(answer + i * curve.ORDER)
    for number in (0, curve.ORDER - 1, curve.ORDER, curve.ORDER + 1, 2**252, 2**253, 2**255, 2**256 - 1):
        yield f"S = {number:x}", key, b"m", point + curve.as_bytes(number)
    for bit in (252, 253, 254, 255):
        yield f"S with bit {bit}", key, b"m", point + curve.as_bytes(answer | 1 << bit)


def cases_of_small_order() -> Iterator[Case]:
    key = curve.encoded(curve.times(SECRET, curve.BASE))
    point = curve.encoded(curve.times(NONCE, curve.BASE))
    for small in encodings_of_small_order():
        # Such that the equation holds if it is asked with the bytes that came.
        message = a_message_for(lambda m, small=small: curve.hashed(point, small, m) % 8 == 0)
        yield f"A = {small.hex()}", small, message, signature_of(small, point, NONCE, 0, message)
        yield f"R = {small.hex()}", key, b"m", signature_of(key, small, 0, SECRET, b"m")
        for other in (small, curve.encoded(curve.ZERO)):
            message = a_message_for(
                lambda m, small=small, other=other: (
                    curve.hashed(other, small, m) % 8 == 0
                    or (curve.hashed(other, small, m) % 8 == 7 and other == small)
                )
            )
            yield f"A = {small.hex()}, R = {other.hex()}, S = 0", small, message, other + bytes(32)


# A and R with a part of small order each: the equation without the cofactor holds when these parts cancel, the one with
# it always.
def cases_of_mixed_order() -> Iterator[Case]:
    for i, small in enumerate(SMALL):
        key = curve.encoded(curve.plus(curve.times(SECRET, curve.BASE), small))
        for j, other in enumerate(SMALL):
            point = curve.encoded(curve.plus(curve.times(NONCE, curve.BASE), other))
            yield f"mixed {i} {j}", key, b"m", signature_of(key, point, NONCE, SECRET, b"m")
        if i:
            # R of small order against a mixed A.
            for j, other in enumerate(SMALL):
                point = curve.encoded(other)
                yield f"mixed A {i}, small R {j}", key, b"m", signature_of(key, point, 0, SECRET, b"m")


def cases_of_points() -> Iterator[Case]:
    key = curve.encoded(curve.times(SECRET, curve.BASE))
    point = curve.encoded(curve.times(NONCE, curve.BASE))
    answer = curve.as_bytes(NONCE)
    good = signature_of(key, point, NONCE, SECRET, b"m")
    # y of p or more, and y without an x.
    for number in [*range(2**255 - 19, 2**255), *range(2, 12)]:
        for sign in (0, 2**255):
            odd = curve.as_bytes(number | sign)
            yield f"A {odd.hex()}", odd, b"m", point + answer
            yield f"R {odd.hex()}", key, b"m", odd + answer
    yield "sign of R", key, b"m", bytes([*good[:31], good[31] ^ 128, *good[32:]])
    yield "sign of A", bytes([*key[:31], key[31] ^ 128]), b"m", good
    for same in (bytes(32), b"\xff" * 32):
        yield "all the same", same, b"m", same + same
        yield "all the same A", same, b"m", good


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return [*cases_of_answers(), *cases_of_small_order(), *cases_of_mixed_order(), *cases_of_points()]


def test_every_odd_signature_is_judged_as_libsodium_judges_it(
    cases: list[Case], run_on_micropython: OnMicroPython
) -> None:
    wanted = [libsodium_accepts(key, message, signature) for _, key, message, signature in cases]
    asked = [["verify", key.hex(), message.hex(), signature.hex()] for _, key, message, signature in cases]
    for results in everywhere(run_on_micropython, asked):
        wrong = [name for (name, *_), got, want in zip(cases, results, wanted, strict=True) if got is not want]
        assert wrong == []


def test_verdicts_on_odd_signatures(cases: list[Case]) -> None:
    """The rule that ed25519.py states, spelled out in the plainest way."""
    small = {point[1] for point in SMALL}
    accepted = 0
    refused_though_it_holds = 0
    for name, key, message, signature in cases:
        strict = int.from_bytes(signature[32:], "little") < curve.ORDER
        for encoding in (key, signature[:32]):
            y = int.from_bytes(encoding, "little") % 2**255
            strict = strict and y < curve.P and y not in small
        right = holds(key, message, signature)
        assert finish(ed25519.verify_steps(key, message, signature)) == (strict and right), name
        accepted += strict and right
        refused_though_it_holds += right and not strict
    # The cases are of both kinds: pairs of mixed order that cancel, and what only strictness refuses.
    assert accepted > 5
    assert refused_though_it_holds > 30


def test_wrong_lengths_are_refused(run_on_micropython: OnMicroPython) -> None:
    key, message, signature = (RFC8032[2][name] for name in ("public_key", "message", "signature"))
    asked = [["verify", key[: 2 * size], message, signature] for size in (0, 1, 31)]
    asked += [["verify", key + "00", message, signature]]
    asked += [["verify", key, message, signature[: 2 * size]] for size in (0, 1, 32, 63)]
    asked += [["verify", key, message, signature + "00"]]
    for results in everywhere(run_on_micropython, asked):
        assert results == [False] * len(asked)


def test_no_bytes_raise(run_on_micropython: OnMicroPython) -> None:
    source = random.Random(1)
    asked = [["verify", some_bytes(source, 32), some_bytes(source, 9), some_bytes(source, 64)] for _ in range(40)]
    # With an S that is in range, half of the keys are points and go all the way.
    asked += [
        ["verify", some_bytes(source, 31) + "3f", "", some_bytes(source, 31) + "2a" + some_bytes(source, 31) + "0a"]
        for _ in range(30)
    ]
    for results in everywhere(run_on_micropython, asked):
        assert results == [False] * len(asked)


def test_views_and_arrays_of_bytes_will_do() -> None:
    vector = RFC8032[2]
    seed, key, message, signature = (
        memoryview(bytearray.fromhex(vector[n])) for n in ("seed", "public_key", "message", "signature")
    )
    assert finish(ed25519.public_key_steps(seed)) == key
    assert finish(ed25519.sign_steps(seed, key, message)) == signature
    assert finish(ed25519.verify_steps(key, message, signature))


def test_the_comb_is_what_it_says() -> None:
    teeth = [curve.times(2 ** (comb25519.COLUMNS * i), curve.BASE) for i in range(comb25519.TEETH)]
    table = b""
    for entry in range(16):
        total = teeth[4]
        for i in range(4):
            total = curve.plus(total, teeth[i] if entry >> i & 1 else curve.minus(teeth[i]))
        x, y = total
        for number in (y - x, y + x, 2 * curve.D * x * y):
            table += curve.as_bytes(number % curve.P)
    assert table == comb25519.TABLE
    assert comb25519.ORDER == curve.ORDER
