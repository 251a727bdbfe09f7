"""Other methods on the suite of hard flows, and thalweg, in one run: cost to reach an accuracy.

    python benchmarks/peers.py                          # everything; resumes
    python benchmarks/peers.py --flows sine "deep linear" --peers BDF thalweg --again

Writes `peers.json`, entry by entry; what is there is skipped without `--again`. `report.py` makes
tables and figures of it.

A peer follows one trajectory for each of its settings. At geometric marks of work the sharpness
`φ(w(t))` is compared with the reference (`references.json`). The cost of an accuracy is that of the
first mark from which on the error stays below it, while the work grows by half or until nothing
moves any more. That is generous: a peer needs no rule to stop by and no error bar, and the marks
are not charged to it. thalweg is charged for both. Work is in gradient evaluations
(`thalweg.problems.COST`; a dense Hessian is as many products as there are parameters), seconds are
without compilation. A peer has its budget for each trajectory. Where a budget ends before the error
came within ten times an accuracy, tighter tolerances are not tried, and where an accuracy is not
reached, nor are higher ones.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from time import perf_counter

import jax
import numpy as np

import thalweg as tw
from hard_flows import FLOWS
from machine import machine
from peer_methods import PEERS, Budget, BudgetSpentError, Flow, WorkCounter
from suite import REFERENCES, reference_of
from thalweg.curvature import top_eigenpairs

RESULTS = Path(__file__).with_name("peers.json")
ACCURACIES = (1e-3, 1e-4, 1e-6)
OWN = "thalweg"
STAYS = 1.5  # growth of work over which an error has to stay small
SETTLED = 2.0  # growth of work without a change: nothing moves any more
UNCHANGED = 1e-3  # relative to the accuracy that is aimed at
AT_REST = 1e-3  # size of the gradient, relative to the start
COMPILING = 3  # times the budget: what thalweg's first call, which compiles, may take
UNCERTAIN = 0.3  # share of an accuracy by which a reference may be wrong


@dataclass(frozen=True)
class Mark:
    """Work, seconds, sharpness and its true relative error at a point of a trajectory."""

    evaluations: float
    seconds: float
    sharpness: float
    error: float


class Trajectory:
    """A peer's way along a flow, with marks; it can be taken up again for a higher accuracy."""

    def __init__(self, peer, flow, setting, reference, budget):
        self.flow, self.reference, self.setting = flow, reference, setting
        self.counter = WorkCounter(budget)
        self.path = peer.integrate(flow, self.counter, setting)
        self.marks = []
        self.vectors = None
        self.aim = np.inf
        self.at_rest = False
        self.end = None  # why it goes no further

    @property
    def error(self):
        """The relative error at the last mark."""
        return self.marks[-1].error if self.marks else np.inf

    @property
    def is_out_of_reach(self):
        """Whether the budget ended before the way came near: smaller steps would not help."""
        near = 10 * self.aim
        return self.end == "budget" and all(mark.error > near for mark in self.marks)

    def integrate_to(self, accuracy):
        """Go on until the accuracy is reached, or cannot be any more."""
        self.aim = accuracy
        while not (self.end or self.reaches(accuracy) or self.settled(accuracy)):
            self.advance()

    def advance(self):
        """Go to the next mark, unless something ends the way there."""
        try:
            while True:
                w = self.counter.time(self.path)
                if self.counter.work >= self.counter.mark:
                    break
        except StopIteration:
            self.end = "the solver ended"
        except BudgetSpentError:
            self.end = "budget"
        else:
            self.measure(w)
            self.counter.set_mark()

    def measure(self, w):
        """Measure the sharpness, and whether `w` is all but at rest; free of charge."""
        pairs = top_eigenpairs(self.flow.problem, w, start=self.vectors, tol=1e-5)
        self.vectors = pairs.vectors
        sharpness = float(pairs.values[0])
        if not np.isfinite(sharpness):
            self.end = "diverged"
            return
        error = abs(sharpness / self.reference - 1)
        self.marks.append(Mark(self.counter.work, self.counter.seconds, sharpness, error))
        slope = np.linalg.norm(self.flow.velocity(w))
        self.at_rest = slope <= AT_REST * np.linalg.norm(self.flow.velocity(self.flow.start))

    def last_marks(self, growth):
        """Return the marks over which the work grew by that factor; none if it has not yet."""
        since = self.marks[-1].evaluations / growth if self.marks else 0.0
        if not self.marks or self.marks[0].evaluations > since:
            return []
        return [mark for mark in self.marks if mark.evaluations >= since]

    def settled(self, accuracy):
        """Whether nothing moves any more that matters for the accuracy."""
        values = [mark.sharpness for mark in self.last_marks(SETTLED)]
        return bool(values) and self.at_rest and np.ptp(values) < UNCHANGED * accuracy * values[-1]

    def reaches(self, accuracy):
        """Whether the error has stayed below the accuracy for long enough."""
        errors = [mark.error for mark in self.last_marks(STAYS)]
        return bool(errors) and max(errors) <= accuracy

    def first_mark(self, accuracy):
        """Return the first mark of those at the end that are all as accurate, or `None`."""
        at_end = list(takewhile(lambda mark: mark.error <= accuracy, reversed(self.marks)))
        held = self.end or self.settled(accuracy) or self.reaches(accuracy)
        return at_end[-1] if at_end and held else None


def reachable(reference):
    """Return the accuracies that the reference is certain enough to judge."""
    return [e for e in ACCURACIES if reference["uncertainty"] <= UNCERTAIN * e]


def measure(peer, flow, reference, budget):
    """Return what it costs a peer to reach each accuracy; why not, and how near it came."""
    entry = {"fits": flow.size <= peer.largest, "reached": {}, "budget": asdict(budget)}
    if not entry["fits"]:
        return entry
    entry["compile_seconds"] = compile_seconds(peer, flow)
    ways = {}
    for accuracy in reachable(reference):
        for setting in peer.settings(accuracy):
            if setting not in ways:
                ways[setting] = Trajectory(peer, flow, setting, reference["value"], budget)
            way = ways[setting]
            way.integrate_to(accuracy)
            if way.first_mark(accuracy) or way.is_out_of_reach:
                break
        if cheapest(ways, accuracy) is None:
            break
    costs = {f"{accuracy:g}": cheapest(ways, accuracy) for accuracy in reachable(reference)}
    entry["reached"] = {name: cell for name, cell in costs.items() if cell}
    entry["best_error"] = min((way.error for way in ways.values() if way.marks), default=None)
    entry["ends"] = {f"{setting:g}": way.end or "left" for setting, way in ways.items()}
    return entry


def cheapest(ways, accuracy):
    """Return the least costly mark from which on one of the trajectories is as accurate."""
    found = [(way.first_mark(accuracy), setting) for setting, way in ways.items()]
    found = [(mark, setting) for mark, setting in found if mark]
    if not found:
        return None
    mark, setting = min(found, key=lambda pair: pair[0].evaluations)
    return {
        "evaluations": mark.evaluations,
        "seconds": mark.seconds,
        "error": mark.error,
        "setting": setting,
    }


def compile_seconds(peer, flow):
    """Take a few steps twice, and return by how much the first time took longer."""
    seconds = []
    for _ in range(2):
        begin = perf_counter()
        flow.velocity(flow.start).block_until_ready()
        if peer.dense:
            flow.jacobian(flow.start).block_until_ready()
        counter = WorkCounter(Budget())
        path = peer.integrate(flow, counter, peer.settings(ACCURACIES[0])[0])
        for _ in range(3):
            counter.time(path)
        seconds.append(perf_counter() - begin)
    return max(0.0, seconds[0] - seconds[1])


def measure_own(hard, reference, budget):
    """Return what thalweg answers at each accuracy as its `rtol`, and what that costs."""
    entry = {"fits": True, "reached": {}, "budget": asdict(budget)}
    answers = [answer(hard, reference, budget, rtol) for rtol in reachable(reference)]
    entry["compile_seconds"] = sum(found.pop("compile_seconds") for found in answers)
    for found in answers:
        if found["status"] == "CONVERGED" and found["error"] <= found["setting"]:
            entry["reached"][f"{found['setting']:g}"] = found
    entry["best_error"] = min(found["error"] for found in answers)
    entry["answers"] = answers
    return entry


def answer(hard, reference, budget, rtol):
    seconds = []
    for allowed in (COMPILING * budget.seconds, budget.seconds):
        begin = perf_counter()
        deadline = begin + allowed
        solution = tw.gradient_flow_solution(
            hard.problem,
            hard.w,
            rtol=rtol,
            max_gradient_evaluations=budget.evaluations,
            report=lambda _, deadline=deadline: perf_counter() > deadline,
        )
        seconds.append(perf_counter() - begin)
    return {
        "evaluations": solution.gradient_evaluations,
        "seconds": seconds[1],
        "error": abs(solution.sharpness / reference["value"] - 1),
        "setting": rtol,
        "bar": solution.sharpness_error / solution.sharpness,
        "status": solution.status.name,
        "method": solution.method,
        "compile_seconds": max(0.0, seconds[0] - seconds[1]),
    }


def run(flows, methods, budget, again):
    references = json.loads(REFERENCES.read_text())
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"flows": {}}
    results["machine"] = machine()
    for name in flows:
        if "value" not in references.get(name, {}):
            print(f"{name}: skipped, there is no reference", flush=True)
            continue
        known = results["flows"].get(name, {"methods": {}})
        missing = [method for method in methods if again or method not in known["methods"]]
        if not missing:
            continue
        hard = FLOWS[name]()
        if (reference := reference_of(name, hard, references)) is None:
            print(f"{name}: skipped, its reference is of another start", flush=True)
            continue
        results["flows"][name] = known
        flow = Flow(hard.problem, hard.w)
        known["parameters"] = flow.size
        for method in missing:
            if method == OWN:
                entry = measure_own(hard, reference, budget)
            else:
                entry = measure(PEERS[method], flow, reference, budget)
            known["methods"][method] = entry
            RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
            print(f"{name}: {method}: {summary(entry)}", flush=True)


def summary(entry):
    if not entry["fits"]:
        return "does not fit"
    cells = [
        f"{accuracy}: {cell['evaluations']:.0f} evaluations, {cell['seconds']:.2f} s"
        for accuracy, cell in entry["reached"].items()
    ]
    best = entry["best_error"]
    return "; ".join([*cells, f"error {best:.1e} at best" if best else "no answer"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flows", nargs="+", default=[""], metavar="PART", help="parts of names")
    parser.add_argument("--peers", nargs="+", choices=[OWN, *PEERS], default=[OWN, *PEERS])
    parser.add_argument("--seconds", type=float, default=Budget.seconds)
    parser.add_argument("--evaluations", type=float, default=Budget.evaluations)
    parser.add_argument("--again", action="store_true", help="also what has been measured")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    flows = [name for name in FLOWS if any(part in name for part in options.flows)]
    run(flows, options.peers, Budget(options.seconds, options.evaluations), options.again)


if __name__ == "__main__":
    main()
