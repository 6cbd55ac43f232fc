"""Print what pytest said last in each tox environment, and the sum.

Usage: python summary.py RESULT_JSON, a file that ``tox --result-json`` wrote. Parallel tox shows
the output of failed environments only, so a green run would not tell how much was tested.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path

CLOSING = re.compile(r"^=+ (.*\d (?:passed|failed|error|skipped).*?) =+$", re.MULTILINE)
COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed)")
COLOUR = re.compile(r"\x1b\[[\d;]*m")


def main(path: Path) -> None:
    environments = json.loads(path.read_text() or "{}").get("testenvs", {})
    total = Counter(passed=0, failed=0)
    for name, environment in environments.items():
        output = "".join(command["output"] for command in environment.get("test", ()))
        for closing in CLOSING.findall(COLOUR.sub("", output)):
            print(f"{name}: {closing}")
            for number, outcome in COUNT.findall(closing):
                total[outcome.replace("errors", "error")] += int(number)
    print("===", ", ".join(f"{number} {outcome}" for outcome, number in total.items()), "===")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
