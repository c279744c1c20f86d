"""Fake relays, one per kind of port, closed when the test ends."""

from collections.abc import Iterator

import pytest

from tests.host.fake_relay import FakeRelay, PtyRelay, Rfc2217Relay


@pytest.fixture
def relay() -> FakeRelay:
    return FakeRelay()


@pytest.fixture
def pty_relay(relay: FakeRelay) -> Iterator[PtyRelay]:
    served = PtyRelay(relay)
    yield served
    served.close()


@pytest.fixture
def rfc2217_relay(relay: FakeRelay) -> Iterator[Rfc2217Relay]:
    served = Rfc2217Relay(relay)
    yield served
    served.close()


@pytest.fixture(params=["pty_relay", "rfc2217_relay"])
def served(request: pytest.FixtureRequest) -> PtyRelay | Rfc2217Relay:
    """The same fake relay behind each kind of port."""
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]
