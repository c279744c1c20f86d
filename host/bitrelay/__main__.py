"""The command `bitrelay`, also `python -m bitrelay`."""

import sys


def main() -> None:
    """Run the command line of this process and end it with a code of errors.ExitCode."""
    # Imported here so that Ctrl-C during the import ends as quietly as later on.
    try:
        from bitrelay.cli import run

        code = run()
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
