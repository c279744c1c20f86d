# What the duplicate cache must do, on either interpreter. Where an outcome is a list of numbers, both must give the
# same.
from array import array
from binascii import hexlify

from shared_protocol import fragment, frame, scan_plain, work_area
from shared_protocol.dedup import DuplicateCache

SENDER = b"sender01"
OTHER = b"sender02"
SIGNATURE = bytes(range(64))


def parsed(data):
    header = frame.Header()
    assert header.parse(data, len(data)) > 0
    return header


def message(number=0, payload=b"hello", sender=SENDER, **more):
    return frame.encode(frame.TYPE_MESSAGE, 7, 1786000000000 + number, sender, payload, **more)


def remember(cache, data, now_s=0):
    return cache.remember(data, parsed(data), now_s)


def is_new(cache, data, now_s=0):
    return remember(cache, data, now_s) < 0


def check_first_and_second_time():
    cache = DuplicateCache(8)
    assert remember(cache, message(1)) == -1
    assert remember(cache, message(2)) == -2
    assert remember(cache, message(1)) == 0
    assert remember(cache, message(2)) == 1


def check_what_tells_frames_apart():
    first = message()
    for other in (
        message(1),
        message(sender=OTHER),
        message(payload=b"hello!"),
        message(payload=b"hellp"),
        message(payload=b""),
        frame.encode(frame.TYPE_LEAVE, 7, 1786000000000, SENDER, b"hello"),
        message(signature=SIGNATURE),
        message(original_size=200),
    ):
        cache = DuplicateCache(8)
        assert is_new(cache, first)
        assert is_new(cache, other), other


def check_what_does_not():
    relayed = bytearray(message())
    frame.set_ttl(relayed, 3)
    answered = bytearray(message())
    frame.set_rsr(answered)
    for other in (relayed, answered, message() + b"\xea" * 234, memoryview(message())):
        cache = DuplicateCache(8)
        assert is_new(cache, message())
        assert not is_new(cache, other)


def check_signed_frames_are_known_by_their_signature():
    cache = DuplicateCache(8)
    assert is_new(cache, message(payload=b"as sent", signature=SIGNATURE))
    assert not is_new(cache, message(payload=b"compressed again", signature=SIGNATURE))
    assert is_new(cache, message(payload=b"as sent", signature=SIGNATURE[1:] + b"\0"))
    # Of 64 bytes the first 8 count.
    assert not is_new(cache, message(payload=b"as sent", signature=SIGNATURE[:8] + bytes(56)))


def check_recompression_does_not_make_a_new_frame():
    cache = DuplicateCache(8)
    assert is_new(cache, message(payload=b"deflate of one phone", original_size=180))
    assert not is_new(cache, message(payload=b"deflate of another", original_size=180))
    assert is_new(cache, message(payload=b"deflate of one phone", original_size=181))
    assert is_new(cache, message(payload=b"deflate of one phone", original_size=180 + 256))


def piece(stream=b"stream01", index=0, number=0, sender=SENDER, data=b"data"):
    payload = fragment.make(stream, index, 300, frame.TYPE_MESSAGE, data)
    return frame.encode(frame.TYPE_FRAGMENT, 7, 1786000000000 + number, sender, payload)


def check_fragments_are_known_by_stream_and_index():
    cache = DuplicateCache(8)
    assert is_new(cache, piece())
    assert not is_new(cache, piece())
    # A phone that sends a file again takes a new time, not a new stream.
    assert not is_new(cache, piece(number=1))
    assert not is_new(cache, piece(data=b"other"))
    assert is_new(cache, piece(index=1))
    assert is_new(cache, piece(index=256))
    assert is_new(cache, piece(stream=b"stream02"))
    assert is_new(cache, piece(sender=OTHER))


def check_fragment_without_header_is_a_frame_like_others():
    cache = DuplicateCache(8)
    for payload in (b"", b"x" * 12):
        short = frame.encode(frame.TYPE_FRAGMENT, 7, 5, SENDER, payload)
        assert is_new(cache, short)
        assert not is_new(cache, short)


def check_expiry():
    cache = DuplicateCache(8, lifetime_s=300)
    assert is_new(cache, message(), 1000)
    assert not is_new(cache, message(), 1300)
    # A duplicate does not prolong the entry's life.
    assert is_new(cache, message(), 1301)
    assert not is_new(cache, message(), 1601)


def check_a_frame_that_comes_anew_is_the_youngest():
    cache = DuplicateCache(3, lifetime_s=10)
    assert [remember(cache, message(n), 0) for n in (0, 1)] == [-1, -2]
    assert remember(cache, message(0), 11) == -3
    # The next one overwrites the oldest entry, which is not the one of frame 0 any more.
    assert remember(cache, message(5), 11) == -1
    assert remember(cache, message(0), 11) == 2


def check_first_in_first_out():
    for capacity in (1, 2, 7, 64):
        cache = DuplicateCache(capacity)
        for number in range(3 * capacity):
            assert is_new(cache, message(number))
        for number in range(2 * capacity, 3 * capacity):
            assert not is_new(cache, message(number)), number
        # Asking for the youngest evicted one brings it back and evicts the oldest.
        assert is_new(cache, message(2 * capacity - 1))
        assert is_new(cache, message(2 * capacity))


def check_forget():
    cache = DuplicateCache(4)
    made = remember(cache, message(0))
    cache.forget(-1 - made)
    assert is_new(cache, message(0))
    older = -1 - remember(cache, message(1))
    assert is_new(cache, message(2))
    cache.forget(older)
    assert is_new(cache, message(1))
    assert not is_new(cache, message(2))


def check_frames_that_find_no_room_do_not_empty_the_ring():
    cache = DuplicateCache(4)
    for number in range(4):
        assert is_new(cache, message(number))
    for _ in range(20):
        cache.forget(-1 - remember(cache, message(9)))
    # Only the place that the flood used is lost.
    assert [is_new(cache, message(number)) for number in (3, 2, 1)] == [False, False, False]


def check_secret():
    # Nobody who does not know it can tell which frames collide.
    hashes = []
    for secret in (b"", b"a", b"b", b"a" * 100):
        cache = DuplicateCache(2, secret=secret)
        remember(cache, message())
        hashes.append(bytes(cache._ring[:8]))
    assert len(set(hashes)) == 4, hashes


def check_long_lengths_of_payload():
    cache = DuplicateCache(600)
    payload = bytes([(7 * i) & 255 for i in range(512)])
    for n in range(512):
        assert is_new(cache, message(payload=payload[:n])), n
    for n in range(512):
        assert not is_new(cache, message(payload=payload[:n])), n


# A pseudorandom walk of remembering, forgetting and waiting: what comes out is the same on both interpreters.
def outcome():
    cache = DuplicateCache(50, lifetime_s=20, secret=b"walk")
    seed = 1
    now_s = 0
    seen = []
    for _ in range(3000):
        seed = seed * 48271 % 0x7FFFFFFF
        number = seed % 90
        kind = seed >> 8 & 3
        if kind == 0:
            data = piece(index=number)
        elif kind == 1:
            data = message(number, signature=SIGNATURE)
        elif kind == 2:
            data = message(number, original_size=100)
        else:
            data = message(number)
        result = remember(cache, data, now_s)
        seen.append(result)
        if result < 0 and seed >> 16 & 7 == 0:
            cache.forget(-1 - result)
        now_s += seed >> 20 & 1
    return seen


# HalfSipHash-2-4 with 64 bits of hash, of so many bytes 00 01 02 ..., with the key 00 .. 07: from the authors' vectors.
PUBLISHED = (
    (0, "218d1f59b9b83cc8"),
    (1, "be552412f8387315"),
    (2, "064f39ef7c50eb57"),
    (3, "ce0f1a45f7060679"),
    (7, "ff202728b07bc684"),
    (8, "edfee820bce4858c"),
    (13, "5a2352d75a0c3744"),
)


# The paper's algorithm, with as many rounds as one wants.
def half_sip_hash(key, message, rounds, final_rounds):
    mask = 0xFFFFFFFF

    def rotated(word, bits):
        return (word << bits | word >> (32 - bits)) & mask

    def stirred(v, times):
        v0, v1, v2, v3 = v
        for _ in range(times):
            v0 = (v0 + v1) & mask
            v1 = rotated(v1, 5) ^ v0
            v0 = rotated(v0, 16)
            v2 = (v2 + v3) & mask
            v3 = rotated(v3, 8) ^ v2
            v0 = (v0 + v3) & mask
            v3 = rotated(v3, 7) ^ v0
            v2 = (v2 + v1) & mask
            v1 = rotated(v1, 13) ^ v2
            v2 = rotated(v2, 16)
        return [v0, v1, v2, v3]

    k0 = int.from_bytes(key[:4], "little")
    k1 = int.from_bytes(key[4:], "little")
    v = [k0, k1 ^ 0xEE, k0 ^ 0x6C796765, k1 ^ 0x74656462]
    whole = len(message) // 4 * 4
    words = [int.from_bytes(message[i : i + 4], "little") for i in range(0, whole, 4)]
    words.append(int.from_bytes(message[whole:], "little") | (len(message) & 255) << 24)
    for word in words:
        v[3] ^= word
        v = stirred(v, rounds)
        v[0] ^= word
    v[2] ^= 0xEE
    v = stirred(v, final_rounds)
    low = v[1] ^ v[3]
    v[1] ^= 0xDD
    v = stirred(v, final_rounds)
    return low.to_bytes(4, "little") + (v[1] ^ v[3]).to_bytes(4, "little")


def check_the_papers_algorithm():
    for size, expected in PUBLISHED:
        hashed = half_sip_hash(bytes(range(8)), bytes(range(size)), 2, 4)
        assert hexlify(hashed).decode() == expected, size


# Plain Python, and machine code where there is some.
def loops():
    try:
        from shared_protocol import scan_viper

        return (scan_plain, scan_viper)
    except ImportError:
        return (scan_plain,)


def check_hash():
    data = bytes([(151 * i + 200) & 255 for i in range(600)])
    for scan in loops():
        for n in list(range(20)) + [250, 255, 256, 482]:
            key = bytes([(n * 29 + i * 83) & 255 for i in range(8)])
            head = bytes([(255 - n - 3 * i) & 255 for i in range(work_area.HEAD_SIZE)])
            work = bytearray(work_area.WORK_SIZE)
            work_area.key_work(work, key)
            work[work_area.HEAD : work_area.HEAD + work_area.HEAD_SIZE] = head
            before = bytes(work[: work_area.HASH])
            scan.hash8(work, data, n % 7, n)
            assert work[: work_area.HASH] == before
            expected = half_sip_hash(key, head + data[n % 7 : n % 7 + n], 1, 3)
            assert work[work_area.HASH :] == expected, (scan, n)


def check_find_after_any_entering_and_leaving():
    count = 12
    hashes = []
    for i in range(24):
        # Few buckets, and halves that others have too.
        hashes.append(bytes((i & 3, 0, 0, 0x80, 0xFF, i >> 2, 0, 0xFF)))
    for scan in loops():
        ring = bytearray(count * 8)
        chains = array("H", [work_area.END] * work_area.BUCKETS + [work_area.APART] * count)
        held = {}
        for step in range(500):
            index = step * 7 % count
            if step % 2:
                scan.leave8(ring, chains, index)
                held.pop(index, None)
            if step % 3:
                wanted = hashes[step * 5 % 24]
                if wanted not in held.values():
                    # In place of what is there, or into an entry that was left.
                    scan.enter8(ring, looking_for(wanted), chains, index)
                    held[index] = wanted
            for wanted in hashes:
                places = [place for place, held_hash in held.items() if held_hash == wanted]
                assert scan.find8(ring, looking_for(wanted), chains) == (places[0] if places else -1), (scan, step)


def looking_for(wanted):
    work = bytearray(work_area.WORK_SIZE)
    work[work_area.HASH :] = wanted
    return work


def check_gather():
    buf = bytes(range(100))
    for scan in loops():
        work = bytearray(work_area.WORK_SIZE)
        scan.gather8(work, memoryview(buf), 10, 30, 50)
        assert work[20:44] == buf[10:18] + buf[30:38] + buf[50:58]
        scan.gather8(work, buf, 10, 30, 0)
        assert work[20:44] == buf[10:18] + buf[30:38] + bytes(8)
        assert work[:20] == bytes(20) and work[44:] == bytes(12)


CHECKS = [name for name in globals() if name.startswith("check_")]
CHECKS.sort()
