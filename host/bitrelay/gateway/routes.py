"""Which meshes want what is said in a mesh of ours: by their subscriptions, worked out once and not for every frame."""

from collections.abc import Mapping, Sequence

from .config import MeshConfig
from .crossing import Heard
from .downlink import offer_of
from .message import MeshOffer


class Routes:
    """Our meshes and those that other gateways offer. A name of ours is never taken from an offer."""

    def __init__(self) -> None:
        self.offers: dict[str, MeshOffer] = {}
        self._own: dict[str, MeshOffer] = {}
        self._everywhere: dict[str, Heard] = {}
        self._only: dict[str, Heard] = {}

    def set_offers(self, offers: Mapping[str, MeshOffer]) -> None:
        """These can be reached from now on."""
        self.offers = dict(offers)
        self._clear()

    def set_meshes(self, meshes: Sequence[MeshConfig]) -> None:
        """These are ours from now on."""
        self._own = {config.name: offer_of(config) for config in meshes}
        self._clear()

    def geohash(self, name: str) -> str:
        """Where a mesh is; "" if that is not known."""
        offer = self._own.get(name) or self.offers.get(name)
        return offer.geohash if offer is not None else ""

    def is_known(self, name: str) -> bool:
        return name in self._own or name in self.offers

    def everywhere(self, origin: MeshConfig) -> Heard:
        """All others that want what is for everybody in this mesh of ours; the same object until something changes."""
        found = self._everywhere.get(origin.name)
        if found is None:
            found = self._everywhere[origin.name] = Heard(
                tuple(
                    name
                    for name, each in (self.offers | self._own).items()
                    if name != origin.name and each.downlink and each.wants(origin.name, origin.geohash)
                )
            )
        return found

    def only(self, name: str) -> Heard:
        """That mesh, if it takes anything."""
        found = self._only.get(name)
        if found is None:
            offer = self._own.get(name) or self.offers[name]
            found = self._only[name] = Heard((name,) if offer.downlink else ())
        return found

    def _clear(self) -> None:
        self._everywhere.clear()
        self._only.clear()
