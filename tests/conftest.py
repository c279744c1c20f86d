"""For all tests: what tests/run.sh found before pytest is told once more in the summary."""

import os

import pytest

# They have their own way to run: tests/e2e/test_hardware_suite.py does it.
collect_ignore = ["hardware"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    failed = os.environ.get("BITRELAY_CHECKS_FAILED")
    if failed:
        terminalreporter.write_sep("=", "checks before the tests", red=True)
        terminalreporter.write_line(f"failed: {failed} (see above)", red=True)
