"""Changes lines of the code one at a time, runs the nearest tests, and lists the changes that no test noticed.

    pip install -e ".[mutation]"
    python scripts/mutation_report.py                              # 12 changes of each module named below
    python scripts/mutation_report.py --modules ssl_sbir/training/optim.py --sample 40 --seed 1

cosmic-ray makes the changes, in a copy of the checkout. A change costs a start of pytest, 5 to 20 seconds. Which
changes are tried is decided by the seed. The report is Markdown, on stdout.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

# The closest tests of each module: fast ones, which hold its arithmetic.
NEAREST_TESTS = {
    "ssl_sbir/ranking/similarity.py": "tests/ranking",
    "ssl_sbir/ranking/relevance.py": "tests/ranking tests/evaluation/test_presets.py",
    "ssl_sbir/ranking/itq.py": "tests/ranking",
    "ssl_sbir/evaluation/metrics/measures.py": "tests/evaluation/test_presets.py",
    "ssl_sbir/evaluation/metrics/protocols.py": "tests/evaluation/test_presets.py tests/evaluation/test_published_definitions.py",
    "ssl_sbir/evaluation/metrics/expected_ties.py": "tests/evaluation/test_presets.py",
    "ssl_sbir/evaluation/metrics/bootstrap.py": "tests/evaluation/test_compare.py tests/evaluation/test_embeddings.py",
    "ssl_sbir/evaluation/compare_runs.py": "tests/evaluation/test_compare.py",
    "ssl_sbir/training/optim.py": "tests/training/test_loop_arithmetic.py tests/training/test_optim.py",
    "ssl_sbir/training/loop.py": "tests/training/test_loop_arithmetic.py",
    "ssl_sbir/data/schedule.py": "tests/data/test_schedule.py",
    "ssl_sbir/objectives/self_labeling.py": "tests/objectives/test_selflabelling.py",
    "ssl_sbir/objectives/distillation.py": "tests/objectives/test_preservation.py",
    "ssl_sbir/objectives/contrastive.py": "tests/objectives/test_contrast.py",
    "ssl_sbir/objectives/triplet.py": "tests/objectives/test_triplet.py",
    "ssl_sbir/objectives/cross_domain.py": "tests/objectives/test_crossdomain.py",
    "ssl_sbir/objectives/momentum_and_prototypes.py": "tests/objectives/test_twins.py",
}


@dataclass(frozen=True)
class Mutant:
    """One change and what became of it.

    Attributes:
        module: the file.
        diff: the change, as a unified diff.
        outcome: "killed" (a test failed), "survived", or what went wrong.
    """

    module: str
    diff: str
    outcome: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the report; exit code 1 where a change survived."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--modules", nargs="*", default=list(NEAREST_TESTS), choices=list(NEAREST_TESTS))
    parser.add_argument("--sample", type=int, default=12, help="changes of each module")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=180, help="seconds for the tests of one change")
    options = parser.parse_args(arguments)
    if shutil.which("cosmic-ray") is None:
        print('cosmic-ray is not on PATH: pip install -e ".[mutation]"', file=sys.stderr)
        return 2
    mutants: list[Mutant] = []
    with tempfile.TemporaryDirectory() as folder:
        checkout = copy_checkout(Path(folder) / "checkout")
        for module in options.modules:
            found = list(try_module(checkout, module, options.sample, options.seed, options.timeout))
            mutants += found
            print(
                f"{module}: {sum(m.outcome == 'survived' for m in found)} of {len(found)} survived",
                file=sys.stderr,
            )
    print(format_report(mutants))
    return int(any(mutant.outcome == "survived" for mutant in mutants))


def copy_checkout(target: Path) -> Path:
    """A copy of the files that git knows or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def try_module(checkout: Path, module: str, sample: int, seed: int, timeout: float) -> Iterator[Mutant]:
    """The outcomes of a sample of the changes that cosmic-ray knows for a module."""
    config, session = checkout / "cosmic-ray.toml", checkout / "session.sqlite"
    tests = f"{sys.executable} -m pytest -q -x -p no:cacheprovider {NEAREST_TESTS[module]}"
    config.write_text(
        f'[cosmic-ray]\nmodule-path = "{module}"\ntimeout = {timeout}\nexcluded-modules = []\n'
        f'test-command = "{tests}"\n[cosmic-ray.distributor]\nname = "local"\n'
    )
    session.unlink(missing_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    if subprocess.run(tests.split(), cwd=checkout, env=environment, check=False).returncode:
        raise SystemExit(f"{module}: its tests fail without any change: {NEAREST_TESTS[module]}")
    run_cosmic_ray("init", config, session, checkout, environment)
    keep_sample(session, sample, random.Random(f"{seed} {module}"))
    run_cosmic_ray("exec", config, session, checkout, environment)
    yield from read_outcomes(session, module)


def run_cosmic_ray(
    command: str, config: Path, session: Path, checkout: Path, environment: dict[str, str]
) -> None:
    """One of cosmic-ray's commands on a session, in the copy of the checkout."""
    subprocess.run(
        ["cosmic-ray", command, str(config), str(session)], cwd=checkout, env=environment, check=True
    )


def keep_sample(session: Path, sample: int, chance: random.Random) -> None:
    """Marks all but some of a session's changes as skipped."""
    from cosmic_ray.work_db import WorkDB, use_db
    from cosmic_ray.work_item import WorkerOutcome, WorkResult

    with use_db(str(session), WorkDB.Mode.open) as database:
        jobs = sorted(item.job_id for item in database.work_items)
        for job in set(jobs) - set(chance.sample(jobs, min(sample, len(jobs)))):
            database.set_result(job, WorkResult(worker_outcome=WorkerOutcome.SKIPPED))


def read_outcomes(session: Path, module: str) -> Iterator[Mutant]:
    """The changes of a session that were tried."""
    from cosmic_ray.work_db import WorkDB, use_db
    from cosmic_ray.work_item import WorkerOutcome

    with use_db(str(session), WorkDB.Mode.open) as database:
        for _, result in database.results:
            if result.worker_outcome != WorkerOutcome.SKIPPED:
                outcome = result.test_outcome.value if result.test_outcome else result.worker_outcome.value
                yield Mutant(module, result.diff or "", outcome)


def format_report(mutants: Sequence[Mutant]) -> str:
    """A table of counts, then each survivor."""
    lines = ["| module | tried | killed | survived |", "|---|---|---|---|"]
    for module in dict.fromkeys(mutant.module for mutant in mutants):
        outcomes = [mutant.outcome for mutant in mutants if mutant.module == module]
        lines.append(
            f"| {module} | {len(outcomes)} | {outcomes.count('killed')} | {outcomes.count('survived')} |"
        )
    for mutant in mutants:
        if mutant.outcome != "killed":
            lines += ["", f"{mutant.module}: {mutant.outcome}", "", "```diff", mutant.diff.strip(), "```"]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
