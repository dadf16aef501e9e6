"""Short runs of the fault harness: one fixed seed, one random seed that is printed."""
import asyncio
import secrets
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import pytest  # noqa: E402

import run  # noqa: E402

FIXED, MINUTES = 20261122, 0.75


@pytest.mark.parametrize("seed", [FIXED, secrets.randbelow(10 ** 9)], ids=["fixed", "random"])
def test_promises_hold(seed, capsys):
    lines = []
    with capsys.disabled():     # whoever sees it hang, or the machine die, wants the seed too
        print(f"\nfault run: --minutes {MINUTES} --seed {seed} --users 20", flush=True)
    _, violations = asyncio.run(run.one_run(run.arguments(["--minutes", str(MINUTES), "--seed", str(seed), "--users", "20"]), lines.append))
    with capsys.disabled():
        print(lines[-1], flush=True)
    print("\n".join(lines))
    assert not violations, f"seed {seed}: {len(violations)} violations; " + "; ".join(f"{v.rule}: {v.text}" for v in violations[:5])
