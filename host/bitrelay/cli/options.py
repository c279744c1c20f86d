"""Options that several commands share."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from ..ports import choose_port

if TYPE_CHECKING:
    from ..console import Console

Result = TypeVar("Result")

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, one document per line.")]
PortOption = Annotated[
    str | None,
    typer.Option(
        "--port",
        "-p",
        help="Serial device, pseudo-terminal, rfc2217://HOST:PORT or name of a virtual board; "
        "without it, the only device there is.",
        show_default=False,
    ),
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0.1, max=600, help="Seconds to wait for the relay to answer.")
]


def with_console(port: str | None, timeout_s: float, work: "Callable[[Console], Awaitable[Result]]") -> Result:
    """Open the console behind port, do the work, close it; raises what either raises."""
    import asyncio

    from ..console import Console

    async def session() -> Result:
        async with await Console.open(choose_port(port), timeout_s) as console:
            return await work(console)

    return asyncio.run(session())
