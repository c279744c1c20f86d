"""`python -m bitrelay.serial_handlers TOOL ARGS`: esptool or mpremote, quick on rfc2217:// ports."""

import runpy
import sys

from bitrelay.serial_handlers import install

_TOOLS = ("esptool", "mpremote")


def main() -> None:
    """Run the tool in this process, as `python -m TOOL` does."""
    if len(sys.argv) < 2 or sys.argv[1] not in _TOOLS:
        sys.exit(f"usage: python -m bitrelay.serial_handlers {'|'.join(_TOOLS)} ARGS")
    install()
    tool = sys.argv.pop(1)
    runpy.run_module(tool, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
