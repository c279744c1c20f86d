# Where a frame that brings its own route goes next (bitchat protocol, section 4.7: the rules of iOS, and Android's for
# routes that name a hop twice). A relay follows routes; it never adds one, since the author has signed what there is.
from shared_protocol.frame import ID_SIZE, Header
from shared_protocol.interpreter import const

try:
    from shared_protocol.scan_viper import seek8
except (ImportError, ValueError):
    # CPython, or an interpreter for which the machine code was not made.
    from shared_protocol.scan_plain import seek8

FLOOD = const(0)
REPEATED = const(-1)


# Where in buf the id is to which the frame goes next, if that peer is connected: else, and for FLOOD, it goes where it
# would go without a route. REPEATED: it goes nowhere. own[own_at:own_at + 8] is the relay's id. The frame is none of
# the relay's own and not for it, and its TTL allows for another hop.
def next_hop(
    buf: bytes | bytearray | memoryview, header: Header, own: bytes | bytearray | memoryview, own_at: int
) -> int:
    at = header.route_at
    count = header.route_count
    if not count:
        return FLOOD
    for i in range(1, count):
        if seek8(buf, at + ID_SIZE * i, count - i, buf, at + ID_SIZE * (i - 1)) >= 0:
            return REPEATED
    # A relay that is not in the route passes the frame to its beginning.
    place = seek8(buf, at, count, own, own_at) + 1
    return at + ID_SIZE * place if place < count else header.recipient_at
