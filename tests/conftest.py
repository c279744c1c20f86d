"""For all tests: what tests/run.sh found before pytest is told once more in the summary."""

import os

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    failed = os.environ.get("BITRELAY_CHECKS_FAILED")
    if failed:
        terminalreporter.write_sep("=", "checks before the tests", red=True)
        terminalreporter.write_line(f"failed: {failed} (see above)", red=True)
