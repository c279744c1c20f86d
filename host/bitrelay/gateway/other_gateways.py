"""Other gateways as one gateway knows them: who can be reached, who shares its meshes, and what meshes they offer.

A mesh that nobody offers for now is not forgotten if a trusted gateway offered it: what is for it waits, also over a
restart. Of a mesh that a trusted gateway joins no stranger has a say.
"""

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Final

from .exchange import GatewayView
from .mesh_memory import load_meshes, save_meshes
from .message import MOST_SUBSCRIPTIONS, MeshOffer

MOST_OFFERS: Final = 1024
"""Meshes of others that are known; those that are offered now count more than those that were."""
USUAL_MS: Final = 100.0
"""Taken for a latency that is not measured yet."""


class OtherGateways:
    """ours: the names of our meshes. memory: the file in which meshes of others are remembered, or None.

    views: those that can be reached now, by PeerId. offers: of meshes that are not ours, by name. reachable: those of
    them for which somebody takes frames now.
    """

    def __init__(self, ours: Collection[str], memory: Path | None) -> None:
        self.views: dict[bytes, GatewayView] = {}
        self.reachable: frozenset[str] = frozenset()
        self._ours = ours
        self._memory = memory
        self._saved = {} if memory is None else load_meshes(memory)
        self.offers = {name: offer for name, offer in self._saved.items() if name not in ours}
        self._kept = set(self.offers)
        self._joined: dict[str, tuple[bytes, ...]] = {}
        self._siblings: dict[str, tuple[bytes, ...]] = {}

    def put(self, view: GatewayView) -> GatewayView | None:
        """It can be reached, or says something new; what was known of it, None if it could not be reached."""
        known = self.views.get(view.peer_id)
        self.views[view.peer_id] = view
        self._changed()
        return known

    def remove(self, peer_id: bytes) -> bool:
        """It can no longer be reached. Whether it could."""
        if self.views.pop(peer_id, None) is None:
            return False
        self._changed()
        return True

    def joined(self, mesh: str) -> tuple[bytes, ...]:
        """Trusted gateways that join a mesh of ours."""
        return self._joined.get(mesh, ())

    def siblings(self, mesh: str) -> tuple[bytes, ...]:
        """Those of them that carry up what it says."""
        return self._siblings.get(mesh, ())

    def siblings_of_both(self, mesh: str, target: str) -> tuple[bytes, ...]:
        """Those of them that bring it into another mesh of ours, too."""
        return tuple(
            each for each in self.siblings(mesh) if (offer := self.views[each].hello.mesh(target)) and offer.downlink
        )

    def farthest_s(self, mesh: str) -> float | None:
        """How long it takes to the farthest gateway of a mesh of ours and back; None if there is none."""
        latencies = [self.views[each].latency_ms for each in self.joined(mesh)]
        return max(USUAL_MS if ms is None else ms for ms in latencies) / 1000 if latencies else None

    def keeps(self, mesh: str) -> bool:
        """Whether what is for a mesh of others may wait while nobody offers it."""
        return mesh in self._kept

    async def save(self) -> None:
        """Remember the meshes of others over a restart. Raises what `save_meshes` raises; then it is tried again."""
        kept = {name: offer for name, offer in self.offers.items() if name in self._kept}
        if self._memory is not None and kept != self._saved:
            await asyncio.to_thread(save_meshes, self._memory, kept)
            self._saved = kept

    def _changed(self) -> None:
        views = self.views.values()
        trusted = [view for view in views if view.trusted]
        self._joined = {mesh: tuple(v.peer_id for v in trusted if v.hello.mesh(mesh)) for mesh in self._ours}
        self._siblings = {
            mesh: tuple(v.peer_id for v in trusted if (offer := v.hello.mesh(mesh)) and offer.uplink)
            for mesh in self._ours
        }
        offers = _offered(views, self._ours)
        self._kept |= {offer.name for view in trusted for offer in view.hello.meshes} & offers.keys()
        before = [(name, offer) for name, offer in self.offers.items() if name in self._kept and name not in offers]
        self.offers = dict((*before, *offers.items())[-MOST_OFFERS:])
        self._kept.intersection_update(self.offers)
        self.reachable = frozenset(name for name, offer in offers.items() if offer.downlink)


def _offered(views: Collection[GatewayView], ours: Collection[str]) -> dict[str, MeshOffer]:
    of_trusted = {offer.name for view in views if view.trusted for offer in view.hello.meshes}
    offers: dict[str, MeshOffer] = {}
    for view in views:
        for offer in view.hello.meshes:
            if offer.name not in ours and (view.trusted or offer.name not in of_trusted):
                offers[offer.name] = _merged(offers.get(offer.name), offer)
    return offers


def _merged(known: MeshOffer | None, offer: MeshOffer) -> MeshOffer:
    # What several gateways of a mesh offer together.
    if known is None:
        return offer
    return MeshOffer(
        offer.name,
        known.geohash or offer.geohash,
        known.downlink or offer.downlink,
        known.uplink or offer.uplink,
        tuple(dict.fromkeys((*known.subscribe, *offer.subscribe)))[:MOST_SUBSCRIPTIONS],
    )
