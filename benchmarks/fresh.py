"""Do the answers hold on problems that nobody has tuned for? Statuses and bars of every kind.

    python benchmarks/fresh.py                       # all; resumes fresh.json, prints the table
    python benchmarks/fresh.py --kinds hinge drift --seeds 0 1 2
    python benchmarks/fresh.py --only hinge:4 --out /tmp/one.json
    python benchmarks/fresh.py --seconds 600         # a part; the next call goes on
    python benchmarks/fresh.py --table               # what has been measured so far

`gradient_flow_solution` with its defaults, on the problems of `fresh_problems.py`, against the
references in `fresh_references.json` (`fresh_references.py` made them). Recurrent, deep, normalised
and attention networks; weight decay; slow drifts; squared hinges; factorisations, as callables and
as `tw.Supervised`; minima reached as a power of time; kinks; flows that have no limit.
"""

import argparse
import json
import time
from collections import Counter
from dataclasses import asdict, dataclass
from math import inf, isfinite
from pathlib import Path

import jax
import numpy as np

import thalweg as tw
from fresh_case import UNSETTLED
from fresh_problems import KINDS, all_settings_early, draw
from fresh_references import Reference, read_references

RESULTS = Path(__file__).with_name("fresh.json")
SECONDS = 150.0  # for one flow: a machine that is shared must come to an end
CLEAR_EVERY = 40  # cases, of which compiled code is kept
ROUNDING = 1e-9  # of the sharpness: errors below it are not told apart
NARROW = 1e-3  # of the sharpness: a set that is wider is not a value


@dataclass(frozen=True)
class Result:
    """What thalweg answered."""

    kind: str
    seed: int
    status: str
    sharpness: float
    sharpness_error: float
    method: str
    gradient_evaluations: float
    seconds: float

    @property
    def settled(self):
        """Whether it says that there is a limit."""
        return tw.Status[self.status].is_settled


@dataclass(frozen=True)
class Judged:
    """An answer beside its reference."""

    result: Result
    reference: Reference

    @property
    def claims(self):
        """Whether there is a value with a bar, and something to hold it against."""
        finite = isfinite(self.result.sharpness_error)
        return self.result.settled and self.reference.known and finite

    @property
    def beyond(self):
        """Whether the truth lies beyond the bar."""
        r = self.result
        return self.claims and not self.reference.misses(r.sharpness, r.sharpness_error) <= 0

    @property
    def too_sure(self):
        """Whether the bar is narrower than the set that `φ` is."""
        known = self.reference
        if not self.claims:
            return False
        width = (known.high - known.low) / 2
        return width > self.result.sharpness_error + NARROW * abs(known.high)

    @property
    def endless(self):
        """Whether a flow without a limit is said to have settled."""
        finite = isfinite(self.result.sharpness_error)
        return self.result.settled and finite and self.reference.why == UNSETTLED

    @property
    def overestimate(self):
        """The bar over the error, as far as the reference knows it."""
        value, known = self.result.sharpness, self.reference
        noise = max(known.error, ROUNDING * abs(known.high))
        error = max(known.low - value, value - known.high, noise, 1e-300)
        return self.result.sharpness_error / error

    @property
    def fault(self):
        """What is wrong, in a word; nothing if nothing is."""
        if self.beyond:
            return f"{self.result.status} beyond the bar"
        if self.too_sure:
            return f"{self.result.status} narrower than the set"
        return "endless, yet settled" if self.endless else ""


def solve(kind, seed):
    case = draw(kind, seed)
    begin = time.perf_counter()
    s = tw.gradient_flow_solution(case.problem, case.w, max_seconds=SECONDS)
    return Result(
        kind=kind,
        seed=seed,
        status=s.status.name,
        sharpness=float(s.sharpness),
        sharpness_error=float(s.sharpness_error),
        method=s.method,
        gradient_evaluations=float(s.gradient_evaluations),
        seconds=round(time.perf_counter() - begin, 2),
    )


def read_results(path):
    rows = json.loads(path.read_text()) if path.exists() else []
    return {(row["kind"], row["seed"]): Result(**row) for row in rows}


def measure(cases, path, seconds):
    """Solve the cases that have not been solved, until the time is over."""
    results, deadline = read_results(path), time.monotonic() + seconds
    left = all_settings_early(case for case in cases if case not in results)
    for number, case in enumerate(left):
        if time.monotonic() > deadline:
            print(f"{len(left) - number} cases are left: call again to go on")
            break
        if number % CLEAR_EVERY == CLEAR_EVERY - 1:
            jax.clear_caches()
        results[case] = solve(*case)
        rows = [asdict(results[key]) for key in sorted(results)]
        path.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
    return results


def row(name, judged):
    """Return the cells of one line of the table."""
    statuses = Counter(j.result.status for j in judged)
    converged = [j for j in judged if j.result.status == "CONVERGED"]
    ratios = [j.overestimate for j in converged if j.claims and j.reference.high > 0]
    return [
        name,
        len(judged),
        sum(not j.reference.known and j.reference.why != UNSETTLED for j in judged),
        len(converged),
        statuses["SET_VALUED"] + statuses["INACCURATE"],
        sum(not j.result.settled for j in judged),
        sum(j.beyond for j in converged),
        sum(j.beyond for j in judged) - sum(j.beyond for j in converged),
        sum(j.too_sure and not j.beyond for j in judged),
        sum(j.endless for j in judged),
        f"{np.median(ratios):.1f}" if ratios else "",
        f"{np.median([j.result.gradient_evaluations for j in judged]):,.0f}",
    ]


HEADER = (
    *("kind", "cases", "no reference", "CONVERGED", "settled otherwise", "not settled"),
    *("CONVERGED beyond the bar", "others beyond the bar", "narrower than the set"),
    *("endless, yet settled", "median bar / error", "median evaluations"),
)


def table_rows(judged):
    """Return a line for every kind, and one for all."""
    kinds = {kind: [j for j in judged if j.result.kind == kind] for kind in KINDS}
    return [row(kind, mine) for kind, mine in kinds.items() if mine] + [row("all", judged)]


def print_table(judged):
    print("| " + " | ".join(HEADER) + " |\n" + "|---" * len(HEADER) + "|")
    for cells in table_rows(judged):
        print("| " + " | ".join(map(str, cells)) + " |")


def judge(results, references):
    """Return the results that there are references for, beside those."""
    return [Judged(r, references[case]) for case, r in results.items() if case in references]


def print_faults(judged):
    for j in judged:
        r, known = j.result, j.reference
        if j.fault:
            right = (
                f"[{known.low:.9g}, {known.high:.9g}] ± {known.error:.1g}" if known.known else "-"
            )
            print(
                f"{j.fault}: {r.kind}:{r.seed} {r.sharpness:.9g} ± {r.sharpness_error:.2g} "
                f"({r.method}), right {right}"
            )
    settled = [j for j in judged if not j.result.settled and j.reference.known]
    for status, count in Counter(j.result.status for j in settled).items():
        seeds = ", ".join(
            f"{j.result.kind}:{j.result.seed}" for j in settled if j.result.status == status
        )
        print(f"{status} where there is a limit, {count}: {seeds}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--seeds", nargs="+", type=int, help="of each kind; left out, all")
    parser.add_argument("--only", nargs="+", metavar="KIND:SEED", help="these cases")
    parser.add_argument("--seconds", type=float, default=inf, help="begin no case after that")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="measure nothing more")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    references = read_references()
    cases = [case for case in references if case[0] in options.kinds]
    if options.seeds is not None:
        cases = [case for case in cases if case[1] in options.seeds]
    if options.only:
        named = [text.rsplit(":", 1) for text in options.only]
        cases = [(kind, int(seed)) for kind, seed in named]
    results = measure(cases, options.out, 0.0 if options.table else options.seconds)
    judged = judge({case: results[case] for case in cases if case in results}, references)
    print_table(judged)
    print_faults(judged)


if __name__ == "__main__":
    main()
