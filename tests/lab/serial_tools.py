"""Runs esptool and mpremote as users do, in processes of their own, with the quick client for RFC 2217."""

import asyncio
import sys

DEADLINE_S = 60.0


async def run_tool(tool: str, *arguments: str, status: int = 0) -> str:
    """What a tool prints; it must end with this status."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bitrelay.serial_handlers", tool, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            output, _ = await process.communicate()
    except BaseException:
        # Also when another board's failure ends this test.
        process.kill()
        await process.wait()
        raise
    told = output.decode(errors="replace")
    assert process.returncode == status, f"{tool} {' '.join(arguments)} ended with {process.returncode}:\n{told}"
    return told


async def esptool(port: str, *arguments: str, status: int = 0) -> str:
    """run_tool for esptool on a port."""
    return await run_tool("esptool", "--port", port, *arguments, status=status)


async def mpremote(port: str, *arguments: str, status: int = 0) -> str:
    """run_tool for mpremote on a port."""
    return await run_tool("mpremote", "connect", port, *arguments, status=status)
