"""The relay on the other end of the cable answers."""

from typing import Any

from bench import Bench, asked


def test_the_relay_tells_who_it_is(relay: dict[str, Any], bench: Bench) -> None:
    info = asked("info", "--port", bench.port)
    assert info["unique_id"] == relay["identity"]
    assert info["max_links"] >= 3 and info["heap_free"] > 8_000


def test_a_setting_holds_over_a_restart(relay: dict[str, Any], bench: Bench) -> None:
    asked("config", "set", "watchdog_s", "45", "--port", bench.port, "--restart")
    assert asked("config", "get", "watchdog_s", "--port", bench.port)["value"] == 45
    asked("config", "unset", "watchdog_s", "--port", bench.port)


def test_a_wrong_setting_changes_nothing(relay: dict[str, Any], bench: Bench) -> None:
    from bench import bitrelay

    before = asked("config", "get", "--port", bench.port)
    done = bitrelay("config", "set", "watchdog_s", "1", "--port", bench.port)
    assert done.returncode == 65 and "watchdog_s" in done.stderr
    assert asked("config", "get", "--port", bench.port) == before


def test_counters_count(relay: dict[str, Any], bench: Bench) -> None:
    first = asked("stats", "--port", bench.port)["counters"]["console_frames"]
    assert asked("stats", "--port", bench.port)["counters"]["console_frames"] > first
