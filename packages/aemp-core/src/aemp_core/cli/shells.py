"""Shells: how bash, zsh and fish ask for completions, and how they want them told.

A shell runs the command with the variable ``_AEMP_COMPLETE`` set, and a line for each completion
comes back: its kind, the word, what it means, with tabs between them. Kinds are ``plain``;
``nospace``: the word goes on; ``file`` and ``dir``: the shell completes those itself. click finds
the completions; what is ours is that words with ``=`` and ``:`` in them come out right.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from click.shell_completion import CompletionItem, ShellComplete, add_completion_class
from click.shell_completion import split_arg_string as split

if TYPE_CHECKING:
    _Item = CompletionItem[Any]
else:
    _Item = CompletionItem

__all__ = ["SCRIPTS", "VARIABLE", "register"]

#: Set by shells that ask: ``bash_complete``, ``zsh_complete``, ``fish_complete``.
VARIABLE = "_AEMP_COMPLETE"

_BASH = """\
# Completion of aemp for bash.
_aemp_completion() {
    local kind word help
    COMPREPLY=()
    while IFS=$'\\t' read -r kind word help; do
        case $kind in
            file) compopt -o default 2>/dev/null ;;
            dir) compopt -o dirnames 2>/dev/null ;;
            nospace) compopt -o nospace 2>/dev/null; COMPREPLY+=("$word") ;;
            plain) COMPREPLY+=("$word") ;;
        esac
    done < <(_AEMP_COMPLETE=bash_complete COMP_LINE=$COMP_LINE COMP_POINT=$COMP_POINT \\
        AEMP_WORDBREAKS=$COMP_WORDBREAKS "$1" 2>/dev/null)
}
complete -o nosort -F _aemp_completion aemp 2>/dev/null || complete -F _aemp_completion aemp
"""

_ZSH = """\
#compdef aemp
# Completion of aemp for zsh.
_aemp_completion() {
    local line
    local -a parts plain described open
    (( ! $+commands[aemp] )) && return 1
    for line in "${(@f)$(COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) \\
        _AEMP_COMPLETE=zsh_complete aemp 2>/dev/null)}"; do
        parts=("${(@ps:\\t:)line}")
        case $parts[1] in
            file) compset -P '*='; _path_files -f ;;
            dir) compset -P '*='; _path_files -/ ;;
            nospace) open+=("$parts[2]") ;;
            plain)
                if [[ -n $parts[3] ]]; then
                    described+=("${parts[2]//:/\\\\:}:$parts[3]")
                else
                    plain+=("$parts[2]")
                fi ;;
        esac
    done
    (( $#described )) && _describe -V unsorted described -U
    (( $#plain )) && compadd -U -V unsorted -a plain
    (( $#open )) && compadd -U -S '' -V unsorted -a open
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _aemp_completion "$@"  # autoloaded from fpath
else
    compdef _aemp_completion aemp  # read by source or eval
fi
"""

_FISH = """\
# Completion of aemp for fish.
function _aemp_completion
    set -l word (commandline -ct | string collect)
    set -l rest (string replace -r '^[^=]*=' '' -- $word)
    set -l before (string match -r '^[^=]*=' -- $word)
    set -lx _AEMP_COMPLETE fish_complete
    set -lx COMP_WORDS (commandline -cp | string collect)
    set -lx COMP_CWORD $word
    for line in (aemp 2>/dev/null)
        set -l parts (string split -m 2 \\t -- $line)
        switch $parts[1]
            case file dir
                for path in (__fish_complete_path $rest)
                    echo $before$path
                end
            case plain nospace
                echo $parts[2]\\t$parts[3]
        end
    end
end
complete --no-files --command aemp --arguments '(_aemp_completion)'
"""

#: The name of a shell -> what it has to read.
SCRIPTS = {"bash": _BASH, "fish": _FISH, "zsh": _ZSH}


class _Shell(ShellComplete):
    """What is the same in all shells."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._prefix = ""

    def get_completions(self, args: list[str], incomplete: str) -> list[_Item]:
        """Of ``--option=va`` click completes ``va``, and the shell replaces the whole word."""
        if incomplete.startswith("-") and "=" in incomplete:
            self._prefix = incomplete.partition("=")[0] + "="
        return super().get_completions(args, incomplete)

    def format_completion(self, item: _Item) -> str:
        """A line: kind, word, help."""
        kind = "nospace" if item.type == "plain" and item.nospace else item.type
        words = (kind, f"{self._prefix}{item.value}", item.help or "")
        return "\t".join(word.replace("\t", " ").replace("\n", " ") for word in words)


class Bash(_Shell):
    """bash takes some characters in a word for its end, ``=`` and ``:`` among them, and wants to be
    told only what comes after the last of these."""

    name = "bash"
    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the cursor, and the one at it."""
        line = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])]
        words = split(line)
        self._word = words.pop() if words and not line[-1:].isspace() else ""
        return words[1:], self._word

    def format_completion(self, item: _Item) -> str:
        """Without what bash thinks is another word."""
        kind, word, help = super().format_completion(item).split("\t")
        breaks = set(os.environ.get("AEMP_WORDBREAKS", "=:")) & set("=:")
        cut = max((self._word.rfind(char) for char in breaks), default=-1) + 1
        return "\t".join((kind, word[cut:], help))


class Zsh(_Shell):
    """zsh tells its words, and which of them the cursor is at."""

    name = "zsh"
    source_template = _ZSH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the cursor, and the one at it."""
        words = split(os.environ["COMP_WORDS"])
        index = int(os.environ["COMP_CWORD"])
        return words[1:index], words[index] if index < len(words) else ""


class Fish(_Shell):
    """fish tells the command up to the cursor, and the word at it."""

    name = "fish"
    source_template = _FISH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the cursor, and the one at it."""
        words = split(os.environ["COMP_WORDS"])
        words_at = split(os.environ["COMP_CWORD"])
        word = words_at[0] if words_at else ""
        if word and words[-1:] == [word]:
            words.pop()
        return words[1:], word


def register() -> None:
    """Have click complete for these shells as we do it."""
    for shell in (Bash, Zsh, Fish):
        add_completion_class(shell)
