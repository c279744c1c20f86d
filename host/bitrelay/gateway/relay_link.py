"""One relay of a gateway: opened, opened again whenever it is there, and asked how full it is."""

from abc import ABC, abstractmethod


class RelayLink(ABC):
    """A way into a mesh that outlives its relay. on_change: called when it comes and goes."""

    name: str
    """As the configuration has it."""

    @property
    @abstractmethod
    def is_up(self) -> bool: ...

    @property
    @abstractmethod
    def trouble(self) -> str | None:
        """Why it is not up, in words."""

    @property
    @abstractmethod
    def pressure(self) -> float:
        """How full the relay is, 0 to 1, as it said last (see Bridge.relay_pressure)."""

    @abstractmethod
    async def send(self, frame: bytes) -> None:
        """Raises a BitrelayError if the relay does not take it."""

    @abstractmethod
    async def receive(self) -> bytes:
        """The next frame that the relay heard; waits while it is away. Raises TransportClosed after close()."""

    @abstractmethod
    async def close(self) -> None: ...
