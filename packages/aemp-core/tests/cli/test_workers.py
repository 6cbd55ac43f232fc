"""Workers: how their addresses count up, and when a process is started again."""

from __future__ import annotations

import pytest

from aemp_core import ConfigError, Settings
from aemp_core.cli.run.child import FIRST_PAUSE, HEALTHY_SECONDS, LONGEST_PAUSE, Child
from aemp_core.cli.run.overseer import Limits, Overseer
from aemp_core.cli.run.recipe import Recipe
from aemp_core.cli.run.workers import Place, counted


@pytest.mark.parametrize(
    ("first", "third"),
    [
        ("tcp://*:4040", "tcp://*:4042"),
        ("tls://[::1]:4040", "tls://[::1]:4042"),
        ("tcp://127.0.0.1:0", "tcp://127.0.0.1:0"),
        ("unix:///run/a.sock", "unix:///run/a.sock.3"),
        ("memory://a:1", "memory://a:1"),
        ("127.0.0.1:8080", "127.0.0.1:8082"),
        ("/run/health", "/run/health.3"),
    ],
)
def test_addresses_count_up(first: str, third: str) -> None:
    assert counted(first, 1) == first
    assert counted(first, 3) == third


def test_a_port_that_there_is_not_is_refused() -> None:
    assert counted("tcp://*:65534", 2) == "tcp://*:65535"
    with pytest.raises(ConfigError, match="worker 3 would get port 65536"):
        counted("tcp://*:65534", 3)


def test_a_worker_has_the_settings_of_its_number() -> None:
    configured = Settings(
        nodeid="ignored/%u", binds=("tcp://*:4040",), advertise=("tcp://a:1",), health="*:80"
    )
    second = Place(5, "w", 2, 3, "/run/x").settings(configured)
    assert second.nodeid == "w/2"
    assert second.binds == ("tcp://*:4041", "unix:///run/x/2")
    assert second.advertise == ("tcp://a:2",)
    assert second.health == "*:81"
    assert second.seeds == ("unix:///run/x/1",)
    assert Place(5, "w", 1, 3, "/run/x").settings(configured).seeds == ()
    seeded = Settings(seeds=("tcp://s:1",))
    assert Place(5, "w", 2, 3, "/run/x").settings(seeded).seeds == ("tcp://s:1",)
    assert Place(5, "w").settings(configured).binds == configured.binds


def test_a_place_survives_the_command_line() -> None:
    place = Place(5, "w ü", 2, 3, "/run/x y")
    assert Place.of_text(place.to_text()) == place


def test_pauses_grow_and_are_short_again_after_a_healthy_time() -> None:
    child = Child("x", lambda fd: [])
    pauses = [child.wait(0.0) for _ in range(10)]
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE
    child.came_up(100.0)
    assert child.wait(100.0 + HEALTHY_SECONDS / 2) == LONGEST_PAUSE
    child.came_up(200.0)
    assert child.wait(200.0 + HEALTHY_SECONDS) == FIRST_PAUSE
    child.came_up(300.0)
    child.wants_restart = True
    assert child.wait(301.0) == 0.0
    assert child.due == 301.0
    child.wants_restart = False
    assert child.wait(301.0) == 2 * FIRST_PAUSE


def test_a_node_that_waits_to_be_started_again_is_not_stuck(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing is heard of it meanwhile, for longer than a loop may be stuck."""
    recipe = Recipe((), None, None, None, "auto", None)
    overseer = Overseer(recipe, Settings(), Limits(9, 9, 9), watchdog=True, as_json=False)
    child = Child("x", lambda fd: ["/no/such/program"])
    child.silent = 100.0
    child.due = 50.0
    overseer._keep(child, 49.0)
    assert (child.abort_due, caplog.text) == (None, "")
    overseer._keep(child, 50.0)  # and what cannot be started waits again
    assert "node x cannot be started: " in caplog.text
    assert child.due == 50.0 + FIRST_PAUSE
