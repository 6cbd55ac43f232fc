"""Fuzzing: inputs by the million, bred by what code they reach, against everything a stranger
or an authenticated but hostile peer can send.

    input (bytes) --script--> bytes in pieces --> target: the real code --> judge: what must hold

A *target* feeds one part of AEMP and states what must hold after each input (`targets`). An input
is not the bytes themselves but a short *script* for them (`script`): so a mutation of it still
gets past the first line, and a token in it can be right although everything around it changed.
`corpus/` keeps inputs of valid sessions and every input that once failed; a plain test replays
them. New ones are bred by atheris, see `python -m fuzz --help`.
"""
