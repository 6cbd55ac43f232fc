"""The evaluator: Python text, run in a loop as the interpreter would run it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aemp_core.services.evaluator import Echo, Evaluator, is_complete


class Shown:
    """An evaluator, and what it showed."""

    def __init__(self, **names: Any) -> None:
        self.out: list[str] = []
        self.err: list[str] = []
        self.evaluator = Evaluator(names, self.show)

    def show(self, text: str, is_error: bool) -> None:
        (self.err if is_error else self.out).append(text)

    async def __call__(self, text: str, echo: Echo = "all") -> str:
        return await asyncio.create_task(self.evaluator.run(text, echo))


async def test_values_are_shown_and_the_last_one_is_kept():
    run = Shown(x=20)
    assert await run("x + 1; None; 'a'\nx * 2") == "done"
    assert run.out == ["21\n", "'a'\n", "40\n"]
    await run("y = _ + 2")
    await run("y")
    assert run.out[3:] == ["42\n"]


@pytest.mark.parametrize(("echo", "shown"), [("all", 2), ("last", 1), ("none", 0)])
async def test_which_values_are_shown(echo: Echo, shown: int):
    run = Shown()
    await run("1\n2", echo)
    assert run.out == ["1\n", "2\n"][2 - shown :]


async def test_await_works_at_top_level_and_names_stay():
    run = Shown(asyncio=asyncio)
    await run("await asyncio.sleep(0, 'slept')")
    await run("async def f(n):\n    await asyncio.sleep(0)\n    return n\n")
    await run("[await f(n) for n in range(3)]")
    await run("async with asyncio.Lock() as lock:\n    print = 5\nprint")
    assert run.out == ["'slept'\n", "[0, 1, 2]\n", "5\n"]


async def test_a_traceback_shows_the_lines_of_the_text_and_no_others():
    run = Shown()
    assert await run("def f():\n    return 1 / 0\n") == "done"
    assert await run("f()") == "failed"
    (text,) = run.err
    lines = text.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1] == '  File "<shell 2>", line 1, in <module>'
    assert "    return 1 / 0" in lines
    assert lines[-1] == "ZeroDivisionError: division by zero"
    assert "evaluator.py" not in text


@pytest.mark.parametrize("text", ["x =", "yield 1", "return 1", "'\\ud800'.encode()", "\0"])
async def test_what_is_no_python_is_told(text: str):
    run = Shown()
    assert await run(text) == "failed"
    assert "evaluator.py" not in run.err[0]
    assert run.err[0].splitlines()[-1].partition(":")[0].endswith("Error")


async def test_a_value_that_cannot_be_shown_is_an_error_of_the_text():
    run = Shown()
    assert await run("class C:\n    def __repr__(self):\n        raise KeyError('no')\n") == "done"
    assert await run("C()") == "failed"
    assert run.err[0].endswith("KeyError: 'no'\n")


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("exit()", 0, []),
        ("exit(3)", 3, []),
        ("quit('bye')", 1, ["bye\n"]),
        ("raise SystemExit", 0, []),
        ("await go()", 5, []),
    ],
)
async def test_exit_leaves(text: str, code: int, said: list[str]):
    async def go() -> None:
        await asyncio.sleep(0)
        raise SystemExit(5)

    run = Shown(go=go)
    assert await run(text) == "left"
    assert (run.evaluator.exit_code, run.err) == (code, said)


async def test_a_text_that_waits_can_be_interrupted():
    run = Shown(asyncio=asyncio)
    task = asyncio.create_task(run("await asyncio.sleep(3600)"))
    while run.evaluator.running is None:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    run.evaluator.interrupt()
    assert await task == "interrupted"
    assert run.err == ["KeyboardInterrupt\n"]
    assert run.evaluator.running is None
    run.evaluator.interrupt()  # nothing runs: nothing happens
    assert await run("'next'") == "done"


async def test_a_text_is_interrupted_where_it_is():
    """A signal handler raises in the midst of a text that has the processor."""

    def signal() -> None:
        raise KeyboardInterrupt

    run = Shown(signal=signal)
    assert await run("signal()") == "interrupted"


async def test_a_cancelled_shell_is_not_held_up():
    run = Shown(asyncio=asyncio)
    task = asyncio.create_task(run.evaluator.run("await asyncio.sleep(3600)"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_completions():
    run = Shown(value=1.5, other=2)
    assert "value" in run.evaluator.completions("val")
    found = [each.rstrip("()") for each in run.evaluator.completions("value.is_")]
    assert found == ["value.is_integer"]
    assert not [each for each in run.evaluator.completions("_") if each.startswith("__aemp")]
    assert run.evaluator.completions("nothing.of") == []


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("1", True),
        ("x =", True),  # wrong: running it says so
        ("await x", True),
        ("if 1:", False),
        ("if 1:\n  x", False),
        ("if 1:\n  x\n", True),
        ("if 1:\n  x\n  ", True),
        ("for x in y: print(x)", True),
        ("async for x in y:", False),
        ("x = [1,", False),
        ("x = [1,\n  2]", True),
        ("'''a", False),
        ("@decorator", False),
        ("try:\n  1\n", False),
        ("def f():\n  return 1\n\nf()", True),
    ],
)
def test_when_a_text_is_complete(text: str, complete: bool):
    assert is_complete(text) is complete
