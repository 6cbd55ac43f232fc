"""``aemp shell``: as a script, as a command, and at a terminal."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from .conftest import AEMP, SECONDS, Network, end, read_line

if sys.platform == "win32":
    pytest.skip("there are no ptys", allow_module_level=True)

from .terminal import Terminal

Start = Callable[..., "subprocess.Popen[str]"]
Open = Callable[..., Terminal]

RULES = "rules=[{node = 'anon/*', allow = ['eval']}]"
#: Terminals: with prompt_toolkit, and one that can do nothing.
TERMS = ["xterm", "dumb"] if importlib.util.find_spec("prompt_toolkit") else ["dumb"]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    path = tmp_path_factory.mktemp("shell")
    secret = "a secret of the tests only"
    state = str(path / "state")
    return Network(path, {**os.environ, "AEMP_SECRET": secret, "XDG_STATE_HOME": state})


@pytest.fixture(scope="module")
def seed(network: Network) -> Iterator[str]:
    """The address of a node that lets everybody evaluate, for all tests of this file."""
    with network.seed(RULES) as address:
        yield address


@pytest.fixture
def open_shell(network: Network, seed: str) -> Iterator[Open]:
    terminals: list[Terminal] = []

    def begin(term: str, *words: str) -> Terminal:
        terminal = Terminal(
            [*AEMP, "shell", "--seed", seed, *words],
            network.path,
            {**network.environment, "TERM": term},
        )
        terminals.append(terminal)
        terminal.read_until(r"Ctrl-D leaves\.\s+>>>")
        return terminal

    yield begin
    for terminal in terminals:
        terminal.close()


def script(network: Network, seed: str, text: str, *words: str) -> tuple[int, str, str]:
    result = subprocess.run(
        [*AEMP, "shell", "--seed", seed, *words],
        input=text,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd=network.path,
        env=network.environment,
    )
    return result.returncode, result.stdout, result.stderr


# -- without a terminal ------------------------------------------------------------------------


def test_a_text_is_run_and_its_last_value_printed(network: Network, seed: str) -> None:
    text = "x = 'info'; 1\nawait cal('seed', x)"
    result = network.aemp("shell", "--seed", seed, "-c", text)
    assert (result.returncode, result.stdout, result.stderr) == (0, "('seed',)\n", "")


def test_a_script_prints_what_it_prints(network: Network, seed: str) -> None:
    text = "for n in range(2):\n    await asyncio.sleep(0)\n    print(n)\n'no value'\n"
    assert script(network, seed, text) == (0, "0\n1\n", "")
    assert script(network, seed, text, "seed") == (0, "0\n1\n", "")


def test_exit_codes(network: Network, seed: str) -> None:
    for where, text, code, said in (
        ((), "exit(7)", 7, ""),
        ((), "1 / 0", 1, "ZeroDivisionError: division by zero"),
        (("seed",), "1 / 0", 1, "ZeroDivisionError: division by zero"),
    ):
        result = network.aemp("shell", "--seed", seed, *where, "-c", text)
        assert (result.returncode, result.stdout) == (code, "")
        assert result.stderr.rpartition("\n")[0].rpartition("\n")[2] == said


def test_a_node_that_does_not_allow_it_says_the_remedy(network: Network, start: Start) -> None:
    process = start("run", "nodeid=strict", "binds=tcp://127.0.0.1:0")
    address = read_line(process, "address ")
    result = network.aemp("shell", "--seed", address, "strict", "-c", "1")
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert "needs the rule 'eval', in the configuration of strict" in line


def test_what_another_node_prints_cannot_take_over_the_terminal(
    network: Network, seed: str
) -> None:
    text = "print('red \\x1b[31m')"
    result = network.aemp("shell", "--seed", seed, "seed", "-c", text)
    assert result.stdout == "red \\x1b[31m\n"


@pytest.mark.parametrize("where", [[], ["seed"]])
def test_ctrl_c_ends_a_text(seed: str, start: Start, where: list[str]) -> None:
    text = "print('waiting', flush=True); await asyncio.sleep(3600)"
    process = start("shell", "--seed", seed, *where, "-c", text)
    read_line(process, "waiting")
    assert end(process, signal.SIGINT) == (130, "", "KeyboardInterrupt\n")


def test_ctrl_c_ends_a_text_that_keeps_the_loop_busy(seed: str, start: Start) -> None:
    text = "print('spinning', flush=True)\nwhile True: pass"
    process = start("shell", "--seed", seed, "-c", text)
    read_line(process, "spinning")
    assert end(process, signal.SIGINT) == (130, "", "KeyboardInterrupt\n")


# -- at a terminal -----------------------------------------------------------------------------


@pytest.mark.parametrize("term", TERMS)
def test_lines_at_a_terminal(open_shell: Open, network: Network, term: str) -> None:
    shell = open_shell(term)
    shell.type("20 + 1\r")
    shell.read_until(r"\n\s*21\r?\n")
    shell.type("[_ * 2, *await cal('seed', 'info')]\r")
    shell.read_until(r"\[42, 'seed'\]")
    shell.type("def double(x):\r  return 2 * x\r")
    shell.read_until(r"\.\.\. ")
    # prompt_toolkit keeps the indent: the empty line ends the function for both.
    shell.type("\r")
    shell.type("double(50)\r")
    shell.read_until(r"\n\s*100\r?\n")
    shell.type("1 / 0\r")
    shell.read_until("ZeroDivisionError: division by zero")
    shell.type("print('wait' + 'ing'); await asyncio.sleep(3600)\r")
    shell.read_until("waiting")
    shell.type("\x03")
    shell.read_until("KeyboardInterrupt")
    shell.type("exit(5)\r")
    assert shell.end() == 5
    history = network.path / "state" / "aemp" / "shell_history"
    assert history.stat().st_mode & 0o077 == 0
    assert '"20 + 1"' in history.read_text()


@pytest.mark.parametrize("term", TERMS)
def test_messages_come_above_the_line_that_is_typed(open_shell: Open, term: str) -> None:
    shell = open_shell(term)
    shell.type("guard = every(0.5, me, 'tick', 7)\r")
    shell.type("'half a ")
    shell.read_until(r"<- \('tick', 7\)\r?\n")
    shell.type("line'.upper()\r")
    shell.read_until("'HALF A LINE'")
    shell.type("guard.cancel(); 'un' + 'til'\r")
    shell.read_until(r"'until'\s+>>>")
    shell.type("\x04")
    assert shell.end() == 0


@pytest.mark.parametrize("term", TERMS)
def test_tab_completes_nodes_in_strings_and_names(
    open_shell: Open, seed: str, start: Start, term: str
) -> None:
    worker = start("run", "nodeid=worker/77", f"seeds={seed}")
    read_line(worker, "node ")
    shell = open_shell(term)
    shell.type("import time\r")
    shell.type("await up('worker/77'); 'link' + 'ed'\r")
    shell.read_until(r"'linked'\s+>>>")
    shell.type("x = 'wor\t")
    shell.read_until("ker/77")  # what was typed need not be drawn again
    shell.type("'; len(x)\r")
    shell.read_until(r"\n\s*9\r?\n")
    shell.type("time.monoton\t")
    shell.read_until(r"ic")
    shell.type("\x03")


@pytest.mark.parametrize("term", TERMS)
def test_a_session_on_another_node(open_shell: Open, start: Start, seed: str, term: str) -> None:
    name = f"victim/{term}"
    victim = start("run", f"nodeid={name}", f"seeds={seed}", RULES)
    read_line(victim, "node ")
    shell = open_shell(term, name)
    shell.type("answer = 6 * 7\r")
    shell.type("f'{node.id}: {answer}'\r")
    shell.read_until(f"'{name}: 42'")
    shell.type("print('wait' + 'ing'); await asyncio.sleep(3600)\r")
    shell.read_until("waiting")
    shell.type("\x03")
    shell.read_until("KeyboardInterrupt")
    shell.type("x = 'an\t")
    shell.read_until("on/")
    shell.type("\x03")
    victim.kill()
    shell.read_until(f"aemp: the session on {name} ended: transport_error")
    assert shell.end() == 1


def test_ctrl_c_at_the_prompt_does_not_leave(open_shell: Open) -> None:
    shell = open_shell(TERMS[0])
    shell.type("'given up\x03")
    shell.type("'still ' + 'here'\r")
    shell.read_until(r"'still here'\s+>>>")
    shell.type("\x04")
    assert shell.end() == 0


@pytest.mark.parametrize("term", TERMS)
def test_the_terminal_is_left_as_it_was_found(open_shell: Open, term: str) -> None:
    shell = open_shell(term)
    assert shell.raw
    shell.type("half a line")
    shell.read_until("half a line")
    shell.process.send_signal(signal.SIGTERM)
    assert shell.end() == 143
    assert not shell.raw
    assert "aemp: ended by SIGTERM" in shell.rest
