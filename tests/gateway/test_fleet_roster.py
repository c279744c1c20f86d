import pytest

from bitrelay.gateway import fleet_roster
from bitrelay.gateway.fleet_roster import SILENCE_S, FleetRoster
from bitrelay.gateway.message import Hello, MeshOffer

A, B, C = (bytes((each,)) * 32 for each in b"abc")
TAKES = Hello("takes", (MeshOffer("west", downlink=True), MeshOffer("north")))
GIVES = Hello("gives", (MeshOffer("west"),))


def test_who_said_hello_is_there_until_it_goes() -> None:
    roster = FleetRoster()
    assert not roster.heard(A, 0.0)
    assert roster.said(A, TAKES, 3.0, 1.0)
    assert roster.heard(A, 2.0)
    view = roster.view(A, 2.0)
    assert view is not None
    assert (view.hello, view.trusted, view.latency_ms) == (TAKES, True, None)
    assert roster.gone(A, 3.0)
    assert not roster.gone(A, 3.0)
    assert not roster.heard(A, 4.0)
    assert roster.views(4.0) == []


@pytest.mark.requirement("GWY-20")
def test_who_is_silent_is_gone() -> None:
    roster = FleetRoster()
    for each in (A, B):
        roster.said(each, TAKES, 0.0, 0.0)
    roster.heard(B, 1.0)
    assert roster.silent(SILENCE_S) == []
    assert roster.silent(SILENCE_S + 0.5) == [A]
    assert roster.silent(SILENCE_S + 0.6) == []
    assert roster.cut_off(SILENCE_S + 0.7) == [B]


def test_uptime_is_the_share_of_the_time_since_it_is_known() -> None:
    roster = FleetRoster()
    roster.said(A, TAKES, 0.0, 0.0)
    roster.gone(A, 30.0)
    roster.said(A, TAKES, 0.0, 40.0)
    view = roster.view(A, 60.0)
    assert view is not None
    assert view.uptime == pytest.approx(50 / 60)


def test_latency_is_both_ends_way_to_the_broker_and_back() -> None:
    roster = FleetRoster()
    roster.broker_ms = 2.0
    roster.said(A, TAKES, 40.0, 0.0)
    view = roster.view(A, 0.0)
    assert view is not None
    assert view.latency_ms == 42.0


def test_takers_are_those_that_let_frames_into_the_mesh() -> None:
    roster = FleetRoster()
    roster.said(A, TAKES, 0.0, 0.0)
    roster.said(B, GIVES, 0.0, 0.0)
    roster.said(C, TAKES, 0.0, 0.0)
    roster.gone(C, 1.0)
    assert roster.takers("west") == [A]
    assert roster.takers("north") == roster.takers("nowhere") == []


def test_members_are_bounded_and_those_that_went_first_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_roster, "MOST_MEMBERS", 2)
    roster = FleetRoster()
    assert roster.said(A, TAKES, 0.0, 0.0)
    assert roster.said(B, TAKES, 0.0, 1.0)
    assert not roster.said(C, TAKES, 0.0, 2.0)
    roster.gone(B, 3.0)
    assert roster.said(C, TAKES, 0.0, 4.0)
    assert {view.peer_id for view in roster.views(5.0)} == {A, C}
