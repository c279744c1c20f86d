"""What one advertisement says. Everything in it is a stranger's claim, and anything may be in it.

A peer is known by the service it advertises; a name is never enough (DSC-17, E21). The BitCraps service tells more in
its service data (shared_protocol/beacon.py); without that it is no peer yet, so that nobody gets an id of zeros
(DSC-21).
"""

from dataclasses import dataclass, field
from enum import Flag, StrEnum, auto

from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData

from shared_protocol import beacon

from .ranging import heard_level

BITCRAPS_SERVICE = "12345678-1234-5678-1234-567812345678"
BITCHAT_SERVICE = "f47b5e2d-4a9e-4c5a-9b3f-8e1d2c3a4b5c"
SERVICE_UUIDS = (BITCRAPS_SERVICE, BITCHAT_SERVICE)

_ID_SIZE = 8
_NO_ID = bytes(_ID_SIZE)
_LONGEST_NAME = 64


class Services(Flag):
    """Which of the two services a peer advertises."""

    BITCRAPS = auto()
    BITCHAT = auto()


class Rejection(StrEnum):
    """Why an advertisement is of no peer."""

    FOREIGN = "foreign"
    NAME_ONLY = "name only"
    INCOMPLETE = "incomplete"
    MALFORMED = "malformed"


@dataclass(frozen=True)
class Beacon:
    """What a relay tells of itself. load in percent and free_links are None where it does not say."""

    version: tuple[int, int]
    capabilities: int
    load: int | None
    free_links: int | None


@dataclass(frozen=True)
class Sighting:
    """One advertisement of a peer: rssi in dBm, on_air_id of 8 bytes or None, beacon of BitCraps nodes only.

    is_incomplete says that the part with the service data did not arrive: it may tell of a known peer, not of a new
    one. device is bleak's handle for connecting.
    """

    address: str
    rssi: int
    services: Services
    name: str = ""
    on_air_id: bytes | None = None
    beacon: Beacon | None = None
    is_incomplete: bool = False
    device: BLEDevice | None = field(default=None, compare=False, repr=False)


def read_sighting(device: BLEDevice, advertisement: AdvertisementData) -> Sighting | Rejection:
    """Take an advertisement apart. Raises for no content whatever."""
    data = {uuid.lower(): value for uuid, value in advertisement.service_data.items()}
    # The list of services travels in the advertisement, the data in the scan response: either may come alone.
    advertised = {uuid.lower() for uuid in advertisement.service_uuids} | data.keys()
    services = Services(0)
    if BITCRAPS_SERVICE in advertised:
        services |= Services.BITCRAPS
    if BITCHAT_SERVICE in advertised:
        services |= Services.BITCHAT
    name = advertisement.local_name or ""
    if not services:
        return Rejection.NAME_ONLY if has_our_name(name) else Rejection.FOREIGN
    told: Beacon | None = None
    on_air_id: bytes | None = None
    if BITCHAT_SERVICE in data:
        on_air_id = data[BITCHAT_SERVICE]
        if len(on_air_id) != _ID_SIZE:
            return Rejection.MALFORMED
    if BITCRAPS_SERVICE in data:
        fields = beacon.parse(data[BITCRAPS_SERVICE])
        if fields is None:
            return Rejection.MALFORMED
        major, minor, capabilities, on_air_id, load, free_links = fields
        told = Beacon((major, minor), capabilities, _known(load), _known(free_links))
    return Sighting(
        device.address,
        heard_level(advertisement.rssi),
        services,
        name[:_LONGEST_NAME],
        # A relay without keys advertises zeros: it is there, and it is nobody.
        None if on_air_id == _NO_ID else on_air_id,
        told,
        is_incomplete=Services.BITCRAPS in services and told is None,
        device=device,
    )


def has_our_name(name: str) -> bool:
    """Whether a name is one that nodes of the founding project have (DSC-17): a hint for people, no more."""
    return name.startswith("BitCraps") or "CRAP" in name


def capability_names(bits: int) -> list[str]:
    """The capabilities of a beacon by name, those nobody has named as hex (DSC-15)."""
    known = ((beacon.GAMING, "gaming"), (beacon.MESH_ROUTING, "mesh"), (beacon.TOKENS, "tokens"))
    names = [name for bit, name in known if bits & bit]
    rest = bits & ~(beacon.GAMING | beacon.MESH_ROUTING | beacon.TOKENS)
    return names + ([f"0x{rest:02x}"] if rest else [])


def _known(value: int) -> int | None:
    return None if value == beacon.UNKNOWN else value
