"""What is told to a service manager, and what is not."""

from __future__ import annotations

import os
import socket

import pytest

from aemp_core.cli.run.systemd import Notifier

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no unix sockets")


@pytest.mark.parametrize(
    ("variables", "beats"),
    [
        ({"WATCHDOG_USEC": "3000000"}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_beats_are_sent_if_they_are_meant_for_us(variables, beats):
    """And the variables are gone then: they are for no other process."""
    environment = {"NOTIFY_SOCKET": "/nowhere/notify", "HOME": "/", **variables}
    notifier = Notifier(environment)
    assert notifier.beat_seconds == beats
    assert environment == {"HOME": "/"}
    notifier.close()


def test_without_a_manager_nothing_is_told(caplog):
    notifier = Notifier({"WATCHDOG_USEC": "3000000"})
    assert notifier.beat_seconds is None
    notifier.ready("up")
    assert caplog.records == []


@pytest.mark.parametrize("name", ["/nowhere/notify", "vsock:2:1234", "notify"])
def test_a_manager_that_cannot_be_told_is_no_reason_to_end(name, caplog):
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready("up")
    assert len(caplog.records) == 1
    assert name in caplog.text or "cannot be told READY=1" in caplog.text
    notifier.close()
