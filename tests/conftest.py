"""For all tests: what tests/run.sh found before pytest is told once more in the summary."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# They have their own way to run: tests/e2e/test_hardware_suite.py does it.
collect_ignore = ["hardware"]


# How long inputs take to make is no property of what is tested: in a fresh clone Hypothesis reads the sources of all
# modules while it makes the first ones, which takes a second on a busy machine.
settings.register_profile("bitrelay", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("bitrelay")


# A shell has its background jobs ignore Ctrl-C, and what they start inherits that; these tests may be such a job.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    failed = os.environ.get("BITRELAY_CHECKS_FAILED")
    if failed:
        terminalreporter.write_sep("=", "checks before the tests", red=True)
        terminalreporter.write_line(f"failed: {failed} (see above)", red=True)
