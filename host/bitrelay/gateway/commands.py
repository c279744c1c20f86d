"""What a running gateway does for a command (`dht/control`): status, peers, traffic."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ..dht.control import Request, Tell
from ..errors import BadData
from . import report

if TYPE_CHECKING:
    from .service import GatewayService


class Commands:
    """Does what requests say with one gateway. Raises BadData for a request that says nothing of the kind."""

    def __init__(self, service: "GatewayService") -> None:
        self._service = service
        self._known: dict[str, Callable[[Tell], Awaitable[Any]]] = {
            "status": self._status,
            "peers": self._peers,
            "traffic": self._traffic,
        }

    async def handle(self, request: Request, tell: Tell) -> Any:
        """What comes of a request."""
        name = request.get("do")
        command = self._known.get(name) if isinstance(name, str) else None
        if command is None:
            raise BadData("the gateway does not know this command", hint="Restart the gateway after an update")
        return await command(tell)

    async def _status(self, tell: Tell) -> Any:
        service = self._service
        more = {"listen": [str(address) for address in service.bound], "metrics": service.metrics}
        return report.status(service.gateway) | more

    async def _peers(self, tell: Tell) -> Any:
        peers = report.peers(self._service.gateway)
        for peer in peers:
            await tell(peer)
        return {"peers": len(peers), "up": sum(peer["up"] for peer in peers)}

    async def _traffic(self, tell: Tell) -> Any:
        return report.traffic(self._service.gateway)
