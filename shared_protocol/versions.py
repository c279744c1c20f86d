# Protocol versions: what each brought, and what two peers of different versions may use between them.
#
# A version is a tuple (major, minor, patch) of 0 to 255 each, so it compares as it is. BASE is the version the founding
# documents call current; our build has all that came up to CURRENT and announces that.
from shared_protocol.interpreter import const

BASE = (1, 0, 0)
CURRENT = (1, 4, 0)
MINIMUM = BASE

BASIC_MESH = const(0x01)
GATEWAY_NODES = const(0x02)
ENHANCED_ROUTING = const(0x04)
COMPRESSION_V2 = const(0x08)
PROOF_OF_RELAY = const(0x10)
# Known by name only: no release of ours has it, and none of ours can agree on it.
CROSS_CHAIN = const(0x20)

# Feature, the version it came with, its name.
TABLE = (
    (BASIC_MESH, (1, 0, 0), "basic-mesh"),
    (GATEWAY_NODES, (1, 1, 0), "gateway-nodes"),
    (ENHANCED_ROUTING, (1, 2, 0), "enhanced-routing"),
    (COMPRESSION_V2, (1, 3, 0), "compression-v2"),
    (PROOF_OF_RELAY, (1, 4, 0), "proof-of-relay"),
    (CROSS_CHAIN, (2, 0, 0), "cross-chain"),
)

# Both speak the same version, all of it; both speak compatible ones, some features are off; only the least is left;
# they cannot talk.
FULL = const(0)
LIMITED = const(1)
LEGACY = const(2)
INCOMPATIBLE = const(3)
MODES = ("full", "limited", "legacy", "incompatible")

# What is agreed with a peer that never says which version it has.
LEGACY_TERMS = (BASE, BASIC_MESH, LEGACY)

# The packet types of ours come in blocks of four, a feature each; the first block is every peer's.
OWN_TYPES = const(0xB0)
_BLOCKS = (BASIC_MESH, GATEWAY_NODES, ENHANCED_ROUTING, PROOF_OF_RELAY)


# "1.4.0" for (1, 4, 0).
def text(version: tuple[int, int, int]) -> str:
    return "%d.%d.%d" % version


# The version that such a text is, None for any other text. Leading zeros are none, as semver.org has it (rule 2).
def parse(text: str) -> tuple[int, int, int] | None:
    parts = text.split(".")
    if len(parts) != 3:
        return None
    numbers = []
    for part in parts:
        # isdigit() alone takes digits of other scripts.
        if not 1 <= len(part) <= 3 or not part.isdigit() or len(part.encode()) != len(part):
            return None
        number = int(part)
        if number > 255 or (number and part[0] == "0") or (not number and len(part) > 1):
            return None
        numbers.append(number)
    return numbers[0], numbers[1], numbers[2]


# The features a version has, as bits. Of a later one than we know: those we know.
def features_of(version: tuple[int, int, int]) -> int:
    bits = 0
    for feature, since, _ in TABLE:
        if version >= since:
            bits |= feature
    return bits


def names_of(features: int) -> list[str]:
    return [name for feature, _, name in TABLE if features & feature]


# What two peers use between them: (version, features, mode). Both come to the same, whichever is asked.
#
# The minimum is the lowest version an end still speaks in full. A different major is a different protocol: no version,
# no features. Below a minimum there is the least, which every version of a major has. `announced` are the feature bits
# that both ends say they have: a build may leave out what its version would allow.
def negotiate(
    local: tuple[int, int, int],
    remote: tuple[int, int, int],
    local_minimum: tuple[int, int, int] = MINIMUM,
    remote_minimum: tuple[int, int, int] = MINIMUM,
    announced: int = -1,
) -> tuple[tuple[int, int, int], int, int]:
    if local[0] != remote[0] or not local[0]:
        return (0, 0, 0), 0, INCOMPATIBLE
    if local < remote_minimum or remote < local_minimum:
        return (local[0], 0, 0), BASIC_MESH, LEGACY
    common = min(local, remote)
    able = features_of(common)
    features = able & announced | BASIC_MESH
    # A patch adds nothing that could be off.
    if local[:2] == remote[:2] and features == able:
        return common, features, FULL
    return common, features, LIMITED


# Whether a peer we agreed on these features with may be sent a packet of this type by us. (What others sent is
# forwarded, known or not.) A hello is always allowed: it is how an agreement comes about. Without any feature nothing
# else is; with some, the types of the phones are, and of ours those whose feature is on.
def may_send(type: int, features: int) -> bool:
    block = type - OWN_TYPES
    if block == 0:
        return True
    if 0 < block < 16:
        return features & _BLOCKS[block >> 2] != 0
    return features != 0
