# The bitchat packet, read where it lies (bitchat protocol, section 2).
#
# A relay forwards the bytes it received: parse() finds the fields' places in the caller's buffer and copies nothing,
# set_ttl() and set_rsr() are the only rewrites. Timestamps stay bytes, and every length that is accepted fits a 31-bit
# small int of a 32-bit board.
from shared_protocol.interpreter import const, micropython

VERSION = const(0)
TYPE = const(1)
TTL = const(2)
TIMESTAMP = const(3)
FLAGS = const(11)
LENGTH = const(12)
SENDER_V1 = const(14)
SENDER_V2 = const(16)

ID_SIZE = const(8)
SIGNATURE_SIZE = const(64)
MIN_FRAME = const(22)
MIN_FRAME_V2 = const(24)
MAX_TTL = const(7)

HAS_RECIPIENT = const(0x01)
HAS_SIGNATURE = const(0x02)
COMPRESSED = const(0x04)
HAS_ROUTE = const(0x08)
RSR = const(0x10)

TYPE_ANNOUNCE = const(0x01)
TYPE_MESSAGE = const(0x02)
TYPE_LEAVE = const(0x03)
TYPE_COURIER = const(0x04)
TYPE_NOISE_HANDSHAKE = const(0x10)
TYPE_NOISE_ENCRYPTED = const(0x11)
TYPE_FRAGMENT = const(0x20)
TYPE_REQUEST_SYNC = const(0x21)
TYPE_FILE = const(0x22)
TYPE_BOARD_POST = const(0x23)
TYPE_PREKEYS = const(0x24)
TYPE_GROUP_MESSAGE = const(0x25)
TYPE_PING = const(0x26)
TYPE_PONG = const(0x27)
TYPE_NOSTR_CARRIER = const(0x28)
TYPE_VOICE = const(0x29)
TYPE_ANNOUNCE_V2 = const(0x2C)
# Ours: 0xB0 to 0xBF. Phones forward them like all types they do not know.
TYPE_HELLO = const(0xB0)
TYPE_IDENTITY = const(0xB1)
TYPE_DATAGRAM = const(0xB2)
TYPE_HOSTS = const(0xB3)

# The larger of the two apps' limits (Android's), for the payload section and for the size it inflates to.
MAX_PAYLOAD = const(10485760)
MAX_RATIO = const(50000)

E_EMPTY = const(-1)
E_SHORT = const(-2)
E_VERSION = const(-3)
E_LENGTH = const(-4)
E_TRUNCATED = const(-5)
E_COMPRESSED = const(-6)
E_ROUTE = const(-7)

REASONS = {
    E_EMPTY: "empty",
    E_SHORT: "shorter than a header",
    E_VERSION: "unknown version",
    E_LENGTH: "absurd payload length",
    E_TRUNCATED: "truncated",
    E_COMPRESSED: "impossible compressed payload",
    E_ROUTE: "truncated route",
}

BROADCAST = b"\xff\xff\xff\xff\xff\xff\xff\xff"


class Header:
    # Where things are in the frame parsed last; after a parse that failed it says nothing. One instance is reused for
    # all frames. Places are offsets into the buffer, 0 where the field is absent. payload_at and payload_len are the
    # payload section as it travels: of a compressed frame it begins with the size field, whose value is original_size
    # (else 0). route_at is the first hop.

    def __init__(self) -> None:
        self.version = 0
        self.type = 0
        self.ttl = 0
        self.flags = 0
        self.frame_len = 0
        self.sender_at = 0
        self.recipient_at = 0
        self.route_at = 0
        self.route_count = 0
        self.payload_at = 0
        self.payload_len = 0
        self.original_size = 0
        self.signature_at = 0

    # The length of the frame that starts at buf[0], of whose bytes n are there, or a reason (negative). Bytes behind
    # the frame are padding and do not matter. Raises for no bytes whatever, provided n <= len(buf).
    #
    # MicroPython keeps a call's locals and operands on the C stack if they are 11 words at most, else on the heap:
    # hence so few names here, and in whatever else runs for every frame.
    @micropython.native  # type: ignore[untyped-decorator]
    def parse(self, buf: bytes | bytearray | memoryview, n: int) -> int:
        if n < MIN_FRAME:
            if n <= 0:
                return E_EMPTY
            return E_SHORT if 1 <= buf[VERSION] <= 2 else E_VERSION
        flags = buf[FLAGS]
        at = buf[VERSION]
        self.version = at
        self.flags = flags
        self.type = buf[TYPE]
        self.ttl = buf[TTL]
        if at == 1:
            length = buf[LENGTH] << 8 | buf[LENGTH + 1]
            at = SENDER_V1
            flags &= ~HAS_ROUTE
        elif at == 2:
            if n < MIN_FRAME_V2:
                return E_SHORT
            # The top byte is looked at alone: four bytes would not fit a small int.
            if buf[LENGTH]:
                return E_LENGTH
            length = buf[LENGTH + 1] << 16 | buf[LENGTH + 2] << 8 | buf[LENGTH + 3]
            if length > MAX_PAYLOAD:
                return E_LENGTH
            at = SENDER_V2
        else:
            return E_VERSION
        self.sender_at = at
        self.payload_len = length

        at += ID_SIZE
        if flags & HAS_RECIPIENT:
            self.recipient_at = at
            at += ID_SIZE
        else:
            self.recipient_at = 0
        self.route_at = 0
        self.route_count = 0
        if flags & HAS_ROUTE:
            if at >= n:
                return E_ROUTE
            if buf[at]:
                self.route_count = buf[at]
                self.route_at = at + 1
            at += 1 + ID_SIZE * buf[at]
            if at > n:
                return E_ROUTE
        self.payload_at = at
        at += length
        if flags & HAS_SIGNATURE:
            self.signature_at = at
            at += SIGNATURE_SIZE
        else:
            self.signature_at = 0
        if at > n:
            return E_TRUNCATED
        self.frame_len = at
        self.original_size = 0
        if flags & COMPRESSED and not self._size_inside(buf):
            return E_COMPRESSED
        return at

    # Reads original_size; False if there is no room for it, if it is absurd, or if nothing follows it.
    def _size_inside(self, buf: bytes | bytearray | memoryview) -> bool:
        at = self.payload_at
        body = self.payload_len - 2
        if self.version == 1:
            if body < 1:
                return False
            size = buf[at] << 8 | buf[at + 1]
        else:
            body -= 2
            if body < 1 or buf[at]:
                return False
            size = buf[at + 1] << 16 | buf[at + 2] << 8 | buf[at + 3]
        # Dividing keeps the ratio's check within small ints: body * MAX_RATIO would not fit one.
        if size == 0 or size > MAX_PAYLOAD or (size - 1) // MAX_RATIO >= body:
            return False
        self.original_size = size
        return True


# A frame without recipient is for everybody; so is one for eight FF (section 2.3).
def is_broadcast(buf: bytes | bytearray | memoryview, header: Header) -> bool:
    at = header.recipient_at
    if not at:
        return True
    for i in range(at, at + ID_SIZE):
        if buf[i] != 0xFF:
            return False
    return True


def set_ttl(buf: bytearray | memoryview, ttl: int) -> None:
    buf[TTL] = ttl


# Marks the frame as an answer to a sync request. Neither this bit nor the TTL is signed.
def set_rsr(buf: bytearray | memoryview) -> None:
    buf[FLAGS] |= RSR


# A frame of our own, unpadded. timestamp: Unix milliseconds, or the 8 bytes themselves. original_size > 0 says that the
# payload is raw deflate of that many bytes. Raises ValueError for what the format cannot carry.
def encode(
    type: int,
    ttl: int,
    timestamp: int | bytes,
    sender: bytes,
    payload: bytes,
    version: int = 1,
    recipient: bytes | None = None,
    route: "list[bytes] | tuple[bytes, ...] | None" = None,
    signature: bytes | None = None,
    original_size: int = 0,
    rsr: bool = False,
) -> bytes:
    if version != 1 and version != 2:
        raise ValueError("version must be 1 or 2")
    if route and version == 1:
        raise ValueError("a route needs version 2")
    stamp = timestamp.to_bytes(8, "big") if isinstance(timestamp, int) else timestamp
    _demand_size(stamp, 8, "timestamp")
    _demand_size(sender, ID_SIZE, "sender")
    width = 2 if version == 1 else 4
    section = original_size.to_bytes(width, "big") + payload if original_size else payload
    if len(section) > (0xFFFF if version == 1 else MAX_PAYLOAD):
        raise ValueError("payload is too long for version " + str(version))
    flags = RSR if rsr else 0
    parts = [sender]
    if recipient is not None:
        _demand_size(recipient, ID_SIZE, "recipient")
        flags |= HAS_RECIPIENT
        parts.append(recipient)
    if route:
        if len(route) > 255:
            raise ValueError("a route has at most 255 hops")
        flags |= HAS_ROUTE
        parts.append(bytes((len(route),)))
        for hop in route:
            _demand_size(hop, ID_SIZE, "hop")
            parts.append(hop)
    if original_size:
        flags |= COMPRESSED
    parts.append(section)
    if signature is not None:
        _demand_size(signature, SIGNATURE_SIZE, "signature")
        flags |= HAS_SIGNATURE
        parts.append(signature)
    return bytes((version, type, ttl)) + stamp + bytes((flags,)) + len(section).to_bytes(width, "big") + b"".join(parts)


def _demand_size(value: bytes, size: int, name: str) -> None:
    if len(value) != size:
        raise ValueError(name + " must be " + str(size) + " bytes")


# What the author's Ed25519 signature covers (section 2.8): the packet as the apps encode it again, with TTL 0,
# without signature and RSR, padded. Encoding again loses undefined flags, a v1 route flag and an empty route, so they
# go here too. Raises ValueError if the bytes are no frame.
def signing_preimage(frame: bytes | bytearray | memoryview) -> bytes:
    header = Header()
    length = header.parse(frame, len(frame))
    if length < 0:
        raise ValueError(REASONS[length])
    end = header.signature_at or length
    image = bytearray(frame[:end])
    image[TTL] = 0
    kept = HAS_RECIPIENT | COMPRESSED
    if header.route_count:
        kept |= HAS_ROUTE
    elif header.version == 2 and header.flags & HAS_ROUTE:
        count_at = header.payload_at - 1
        image = image[:count_at] + image[header.payload_at :]
    image[FLAGS] &= kept
    return pad(bytes(image))


# How long a frame of n bytes is once padded: the smallest bucket that leaves 16 bytes, if one pad byte can say how many
# were added (section 2.7); else n.
def padded_length(n: int) -> int:
    for bucket in (256, 512, 1024, 2048):
        if n + 16 <= bucket:
            return bucket if bucket - n <= 255 else n
    return n


def pad(frame: bytes) -> bytes:
    needed = padded_length(len(frame)) - len(frame)
    return frame + bytes((needed,)) * needed
