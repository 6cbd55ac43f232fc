"""Build every distribution, install extras from the wheels into empty environments, try them.

Usage: python dist.py EXTRA...

Editable installs hide packaging faults: a file left out of the wheel, an undeclared dependency, an
entry point that leads nowhere. So this installs ``aemp-core[EXTRA]`` the way a user does, in a
directory far from the sources, and checks that exactly the distributions of that extra came along.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTIONS = {
    "tcp": {"aemp-core", "aemp-tcp"},
    "tls": {"aemp-core", "aemp-tcp", "aemp-tls"},
    "global": {"aemp-core", "aemp-global"},
}
SMOKE = {"tcp": "smoke_links.py", "tls": "smoke_links.py", "global": "smoke_global.py"}


def main(extras: list[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="aemp-dist-") as temporary:
        wheels = build(Path(temporary) / "wheels")
        for extra in extras:
            away = Path(temporary) / extra
            away.mkdir()
            check(away, wheels, extra)
            shown = ", ".join(wheel.name for wheel in wheels)
            print(f"aemp-core[{extra}] works when installed from {shown}")


def check(away: Path, wheels: list[Path], extra: str) -> None:
    """Install `extra` in the directory `away` and try it there."""
    expected = DISTRIBUTIONS[extra]
    run(away, sys.executable, "-m", "venv", "--without-pip", "venv")
    python = away / "venv" / "bin" / "python"
    install(python, wheels, extra, away / "constraints.txt")
    installed = json.loads(pip(python, "list", "--format=json"))
    ours = {item["name"] for item in installed if item["name"].startswith("aemp")}
    if ours != expected:
        sys.exit(f"aemp-core[{extra}] installed {sorted(ours)}, not {sorted(expected)}")
    pip(python, "check")
    if "Usage:" not in run(away, python.with_name("aemp"), "--help"):
        sys.exit("aemp --help shows no usage")
    run(away, python, Path(__file__).with_name(SMOKE[extra]), extra)


def build(wheels: Path) -> list[Path]:
    """Each package's sdist, and its wheel built from the sdist alone."""
    for project in sorted(ROOT.glob("packages/*/pyproject.toml")):
        run(ROOT, sys.executable, "-m", "build", "--no-isolation", "-o", wheels, project.parent)
    return sorted(wheels.glob("*.whl"))


def install(python: Path, wheels: list[Path], extra: str, constraints: Path) -> None:
    """Install ``aemp-core[extra]``, ours from `wheels` and from nowhere else."""
    ours = {wheel.name.split("-")[0].replace("_", "-"): wheel.as_uri() for wheel in wheels}
    core = ours.pop("aemp-core")
    constraints.write_text("".join(f"{name} @ {uri}\n" for name, uri in ours.items()))
    pip(python, "install", "-q", "-c", str(constraints), f"aemp-core[{extra}] @ {core}")


def pip(python: Path, *arguments: str) -> str:
    """Run our pip on the environment of `python`, which so need not hold one."""
    return run(python.parent, sys.executable, "-m", "pip", "--python", python, *arguments)


def run(directory: Path, *command: str | Path) -> str:
    """Run `command` in `directory`, without the environment this script runs in; its output."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV") and not name.startswith("AEMP_")
    }
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        sys.exit(f"{' '.join(map(str, command))} failed with {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    main(sys.argv[1:])
