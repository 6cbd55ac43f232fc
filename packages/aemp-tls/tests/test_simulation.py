"""Simulated networks whose links are TLS: every promise is held, whatever befalls bytes and keys.

Longer runs: ``python -m aemp_core.testing.simulate --driver aemp_tls.simulation:TlsDriver``.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from aemp_core.link import PeerInfo
from aemp_core.testing import World
from aemp_core.testing import simulate as command
from aemp_core.testing.driver import Driver
from aemp_core.testing.faults import Fault, Plan, draw
from aemp_core.testing.simulation import Verdict, reduce, simulate
from aemp_core.wire import Transcript
from aemp_tls import tls
from aemp_tls.identity import Identity
from aemp_tls.proof import CertificateProof
from aemp_tls.simulation import TlsDriver

DRIVER = "aemp_tls.simulation:TlsDriver"
#: With most kinds of faults among them, and no more handshakes than it takes.
FIXED = (0, 5, 6, 8, 9, 18, 22, 23)
FRESH = random.SystemRandom().randrange(2**40)


def held(seed: int) -> Verdict:
    verdict = simulate(seed, TlsDriver)
    if not verdict.holds:
        replay = f"python -m aemp_core.testing.simulate --driver {DRIVER} --seed {seed}"
        pytest.fail(f"{reduce(verdict, budget=20)}\n\nReplay it: {replay}")
    return verdict


@pytest.mark.parametrize("seed", FIXED)
def test_every_promise_is_held(seed: int) -> None:
    held(seed)


@pytest.mark.parametrize("seed", [FRESH], ids=lambda _: "")
def test_every_promise_is_held_for_a_seed_never_seen(seed: int) -> None:
    held(seed)


def test_something_happens_in_these_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Links come up over TLS 1.3, bits flip, certificates are renewed and revoked."""
    seen: Counter[str] = Counter()
    admit = tls._admit

    def admitted(peer: PeerInfo, identity: Identity) -> PeerInfo:
        seen["admitted"] += 1
        return admit(peer, identity)

    monkeypatch.setattr(tls, "_admit", admitted)
    for seed in (5, 18):
        verdict = held(seed)
        seen += verdict.figures()
        for event in verdict.history.events:
            if event[1] == "fault":
                seen[str(event[2]).split(": ")[1].partition("(")[0]] += 1
            if event[1] == "wire":
                seen[str(event[2])] += 1
    assert seen["admitted"] > 20
    assert seen["up"] > 20
    assert seen["arrived"] > 200
    for fault in ("corrupt", "renew", "revoke", "pipe", "stranger"):
        assert seen[fault], f"no {fault} in these seeds: {seen}"


def test_the_same_seed_gives_the_same_history_in_any_process() -> None:
    """What OpenSSL draws does not show."""
    code = "from aemp_core.plugins import plugin_manager; plugin_manager().set_blocked('global')"
    code += "; from aemp_core.testing.simulation import simulate"
    code += "; from aemp_tls.simulation import TlsDriver"
    code += "; print(simulate(8, TlsDriver).history.digest())"
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(digests) == 1


def test_nothing_is_left_of_the_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    held(9)
    assert list(tmp_path.iterdir()) == []


# -- it finds what is there ------------------------------------------------------------------------


class Plain(Driver):
    """Plain links, judged like those of TLS."""

    def __init__(self, world: World, plan: Plan) -> None:
        super().__init__(world, plan)
        world.network.sealed = True


def test_altered_bytes_arrive_over_plain_links_and_not_over_tls() -> None:
    plans = []
    for seed in (5, 6, 8, 9):
        faults = []
        for one, other in (("alice", "bob"), ("bob", "alice")) * 5:
            faults += [Fault(0.3, "burst", (one, 20)), Fault(0.0, "corrupt", (one, other, 9))]
        plans.append(draw(seed).with_faults(faults))
    assert not all(simulate(plan, Plain).holds for plan in plans)
    for plan in plans:
        verdict = simulate(plan, TlsDriver)
        assert verdict.holds, str(verdict)


def test_a_node_that_believes_any_name_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    strangers = [Fault(1.0, "stranger", ("alice", "bob", 2)) for _ in range(8)]
    plan = draw(0).with_faults([Fault(1.0, "kill", ("bob",)), *strangers])
    assert simulate(plan, TlsDriver).holds

    def credulous(peer: PeerInfo, identity: Identity) -> PeerInfo:
        return replace(peer, identity=str(identity))

    monkeypatch.setattr(tls, "_admit", credulous)
    violations = simulate(plan, TlsDriver).violations
    assert "nothing before trust" in {violation.promise for violation in violations}


def test_proofs_that_can_be_passed_on_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the role nor the certificates are in them: a pipe of two listeners is believed."""
    apart = [Fault(1.0, "partition", ("alice", "bob", False))]
    plan = draw(0).with_faults([*apart, *[Fault(20.0, "pipe", ("alice", "bob"))] * 2])
    assert simulate(plan, TlsDriver).holds

    def careless(self: CertificateProof, transcript: Transcript, *_: bytes) -> str:
        return hashlib.sha3_512(b"".join(sorted(transcript.lines().splitlines()))).hexdigest()

    monkeypatch.setattr(CertificateProof, "_token", careless)
    violations = simulate(plan, TlsDriver).violations
    assert violations and violations[0].promise == "nothing before trust"


def test_a_link_that_outlives_a_revocation_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = draw(0).with_faults([Fault(1.0, "revoke", ("bob",))])
    assert simulate(plan, TlsDriver).holds
    monkeypatch.setattr("aemp_tls.keeper.Keeper._judge", lambda self, now: None)
    monkeypatch.setattr("aemp_tls.keeper.Keeper._announce", lambda self, stream: None)
    violations = simulate(plan, TlsDriver).violations
    assert violations and violations[0].promise == "nothing before trust"


def test_the_command_runs_them_and_prints_how_to_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--driver", DRIVER, "--first", "9", "--seeds", "1", "--jobs", "1", "--shrink", "0"]
    monkeypatch.setattr(TlsDriver, "_judge_links", lambda self: 1 / 0)
    result = CliRunner().invoke(command.main, words)
    assert result.exit_code == 1
    assert "1 seeds" in result.output
    assert "--seed 9 --only '0,1" in result.output
    assert result.output.rstrip().endswith(f"--driver {DRIVER}")


def test_a_driver_that_is_none() -> None:
    for name in ("json:JSONDecoder", "nowhere:Driver", "aemp_tls.simulation"):
        result = CliRunner().invoke(command.main, ["--driver", name])
        assert result.exit_code == 2
        assert "Invalid value for '--driver'" in result.output
