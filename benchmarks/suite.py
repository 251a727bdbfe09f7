"""The suite of hard flows: cost, error bar and true error of each GFS sharpness.

    python benchmarks/suite.py [rtol [part of a name ...]]

The true error is against `references.json`, where there is a reference (`references.py` made it)
that is of the same start: late iterates at the edge depend on how a machine rounds.
"""

import json
import sys
import time
from pathlib import Path

import jax

import thalweg as tw
from hard_flows import FLOWS
from machine import is_same_start

REFERENCES = Path(__file__).with_name("references.json")


def relative_error(value, known):
    """Return the distance to the reference, or to the interval that it is, relatively."""
    low, high = known.get("interval") or [known["value"]] * 2
    return max(low - value, value - high, 0.0) / low


def reference_of(name, flow, references):
    """Return the reference of a flow, or nothing where there is none of this start."""
    known = references.get(name)
    is_known = known and is_same_start(float(flow.problem(flow.w)), known["start"])
    return known if is_known else None


def main():
    jax.config.update("jax_enable_x64", True)
    rtol = float(sys.argv[1]) if len(sys.argv) > 1 else 1e-4
    references = json.loads(REFERENCES.read_text())
    parts = sys.argv[2:] or [""]
    print(f"rtol {rtol:g}; relative error bar and error; seconds include compilation")
    for name in (name for name in FLOWS if any(part in name for part in parts)):
        flow = FLOWS[name]()
        begin = time.perf_counter()
        s = tw.gradient_flow_solution(flow.problem, flow.w, rtol=rtol)
        seconds = time.perf_counter() - begin
        known = reference_of(name, flow, references)
        error = f"{relative_error(s.sharpness, known):.1e}" if known else "unknown"
        print(
            f"{name:36s} {s.sharpness:12.7g}  bar {s.sharpness_error / s.sharpness:.1e}  "
            f"error {error:8s} {s.method:12s} {s.status.name:16s} "
            f"{s.gradient_evaluations:8.0f} evaluations {seconds:6.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
