"""Loading of services: whatever is wrong with one stops the start, and is told with its place."""

from __future__ import annotations

import sys

import pytest
from core_kit import SECRET

import aemp_core as mp
from aemp_core.testing import virtual_clock

MODULES = {
    "loading_raises": "x = 1\nraise RuntimeError('no database')\n",
    "loading_wrong": "def start(:\n",
    "loading_needs": "import json\nimport no_such_thing_here\n",
    "loading_calls": (
        "import asyncio, json\n"
        "def start(*arguments):\n"
        "    json.loads('{')\n"
        "async def later():\n"
        "    await asyncio.sleep(0)\n"
        "    raise KeyError('port')\n"
    ),
}


@pytest.fixture(autouse=True)
def modules(tmp_path, monkeypatch):
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("service", "what", "place"),
    [
        ("loading_raises", "cannot be loaded: RuntimeError: no database", "loading_raises.py:2"),
        ("loading_wrong", "cannot be loaded: SyntaxError", "loading_wrong.py:1"),
        ("loading_needs", "cannot be loaded: ModuleNotFoundError: No module", "loading_needs.py:2"),
        (["loading_calls:start", 1], "failed: JSONDecodeError", "loading_calls.py:3"),
        (["loading_calls:later"], "failed: KeyError: 'port'", "loading_calls.py:6"),
        (["loading_calls:later", 1], "failed: TypeError", ""),
    ],
)
@virtual_clock
async def test_an_error_of_a_service_names_it_and_the_place(service, what, place, modules):
    node = mp.Node("alice", secret=SECRET, services=[service])
    with pytest.raises(mp.ConfigError) as caught:
        await node.start()
    name = service if isinstance(service, str) else service[0]
    text = str(caught.value)
    assert text.startswith(f"services: {name} {what}")
    assert text.endswith(f"({modules / place})") if place else "loading.py" not in text
    assert node.closed


@virtual_clock
async def test_a_module_that_is_not_there_has_no_place(modules):
    with pytest.raises(mp.ConfigError) as caught:
        await mp.Node("alice", secret=SECRET, expose=["no_such_module_here"]).start()
    assert str(caught.value) == (
        "expose: no_such_module_here cannot be loaded: "
        "ModuleNotFoundError: No module named 'no_such_module_here'"
    )
