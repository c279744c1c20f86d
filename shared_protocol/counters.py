# What a relay counts, in the order in which STATS carries it.
from shared_protocol.interpreter import const

NAMES = (
    "rx_frames",
    "rx_bytes",
    "tx_frames",
    "tx_bytes",
    "forwarded",
    "originated",
    "duplicates",
    "cancelled",
    "not_relayed_ttl",
    "not_relayed_type",
    "not_relayed_rsr",
    "not_relayed_ours",
    "drop_malformed",
    "drop_partial",
    "drop_oversize",
    "drop_no_slot",
    "drop_no_link",
    "copies",
    "drop_queue_full",
    "drop_link_lost",
    "drop_mtu",
    "drop_send_failed",
    "backpressure",
    "links_up",
    "links_down",
    "links_refused",
    "dials",
    "dials_failed",
    "adverts_seen",
    "console_frames",
    "console_bad",
)

COUNT = const(31)

RX_FRAMES = const(0)
RX_BYTES = const(1)
TX_FRAMES = const(2)
TX_BYTES = const(3)
FORWARDED = const(4)
ORIGINATED = const(5)
DUPLICATES = const(6)
CANCELLED = const(7)
NOT_RELAYED_TTL = const(8)
NOT_RELAYED_TYPE = const(9)
NOT_RELAYED_RSR = const(10)
NOT_RELAYED_OURS = const(11)
DROP_MALFORMED = const(12)
DROP_PARTIAL = const(13)
DROP_OVERSIZE = const(14)
DROP_NO_SLOT = const(15)
DROP_NO_LINK = const(16)
COPIES = const(17)
DROP_QUEUE_FULL = const(18)
DROP_LINK_LOST = const(19)
DROP_MTU = const(20)
DROP_SEND_FAILED = const(21)
BACKPRESSURE = const(22)
LINKS_UP = const(23)
LINKS_DOWN = const(24)
LINKS_REFUSED = const(25)
DIALS = const(26)
DIALS_FAILED = const(27)
ADVERTS_SEEN = const(28)
CONSOLE_FRAMES = const(29)
CONSOLE_BAD = const(30)
