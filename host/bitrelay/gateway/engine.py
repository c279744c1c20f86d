"""From a configuration to what carries messages between gateways. Libraries are loaded for what is asked for."""

from collections.abc import Callable

from ..dht.service import NodeService
from ..errors import BadData, BitrelayError
from ..identity.service import IdentityService
from .config import EngineKind, GatewayConfig
from .exchange import Exchange


def exchange_of(
    config: GatewayConfig,
    identity: IdentityService,
    *,
    node: NodeService | None,
    clock: Callable[[], float],
    on_trouble: Callable[[BitrelayError], None],
) -> Exchange:
    """The exchange that the configuration asks for, not started yet.

    node: where gateways are found by the names of their meshes, if anywhere. on_trouble: called with what does not work
    and is tried again. Raises BadData if the configuration lacks a part of its engine's.
    """
    if config.federation.engine is EngineKind.MQTT:
        from .mqtt_exchange import MqttExchange

        if config.mqtt is None:
            raise BadData("the engine mqtt needs a section [mqtt]", hint='Add it, or take engine = "links"')
        return MqttExchange(identity.local.keys.peer_id, config.mqtt, clock=clock, on_trouble=on_trouble)
    from .discovery import Discovery, NodeDht
    from .link_exchange import LinkExchange

    found_in = None
    if node is not None:
        found_in = Discovery(NodeDht(node, lambda: identity.local.keys), clock=clock)
    return LinkExchange(
        lambda: identity.local,
        config.federation,
        difficulty=config.difficulty,
        cache=identity.cache,
        discovery=found_in,
        find=config.dht.find if config.dht is not None else (),
    )
