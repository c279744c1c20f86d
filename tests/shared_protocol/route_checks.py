# Where source routes lead, and the search for an id, on either interpreter.
from shared_protocol import frame, scan_plain
from shared_protocol.source_route import FLOOD, REPEATED, next_hop

ME = b"relay-me"
TO = b"receiver"
A = b"hop----A"
B = b"hop----B"
C = b"hop----C"


# The id that the frame goes to next, or FLOOD, or REPEATED.
def led_to(route, recipient=TO, version=2, me=ME):
    data = frame.encode(0x11, 5, 0, b"sender01", b"secret", version=version, recipient=recipient, route=route)
    header = frame.Header()
    assert header.parse(data, len(data)) > 0
    at = next_hop(data, header, b"????" + me, 4)
    return data[at : at + 8] if at > 0 else at


ROUTES = (
    ([], FLOOD),
    ([A], A),  # we are not in it
    ([A, B, C], A),
    ([ME], TO),
    ([A, ME], TO),
    ([ME, B], B),
    ([A, ME, C], C),
    ([A, B, A], REPEATED),
    ([A, A], REPEATED),
    ([ME, B, ME], REPEATED),
    ([A, B, C, B], REPEATED),
)


def check_routes():
    for route, expected in ROUTES:
        assert led_to(route) == expected, (route, expected)


def check_a_route_without_recipient_ends_with_us():
    assert led_to([A, ME], recipient=None) == FLOOD
    assert led_to([ME, A], recipient=None) == A


def check_the_longest_routes():
    hops = [b"hop%05d" % i for i in range(255)]
    assert led_to(hops) == hops[0]
    assert led_to(hops, me=hops[100]) == hops[101]
    assert led_to(hops, me=hops[254]) == TO
    assert led_to(hops[:-1] + [hops[17]]) == REPEATED


def check_no_route_in_a_short_header():
    data = bytearray(frame.encode(0x11, 5, 0, b"sender01", b"\1" + A, recipient=TO))
    data[frame.FLAGS] |= frame.HAS_ROUTE
    header = frame.Header()
    assert header.parse(data, len(data)) == len(data)
    assert next_hop(data, header, ME, 0) == FLOOD


def check_an_id_is_found_where_it_is():
    seeks = [scan_plain.seek8]
    try:
        from shared_protocol import scan_viper

        seeks.append(scan_viper.seek8)
    except ImportError:
        pass
    table = b"12345" + A + B + B[:7] + b"x" + C + A
    for seek in seeks:
        for count, wanted, index in (
            (5, A, 0),
            (5, B, 1),
            (5, C, 3),
            (3, C, -1),
            (0, A, -1),
            (5, b"hop----x", 2),
            (5, TO, -1),
        ):
            assert seek(table, 5, count, b"__" + wanted, 2) == index, (count, wanted)
        assert seek(bytearray(16), 0, 2, bytes(8), 0) == 0


CHECKS = [name for name in globals() if name.startswith("check_")]
CHECKS.sort()
