"""What one GFS sharpness of the main job costs at rtol 1e-4 and 1e-5, without compilation.

    python benchmarks/main_job_flow.py

At step 1000 of the main job. The true error is against `references.json`.
"""

import json
import time

import jax

import thalweg as tw
from hard_flows import FLOWS
from suite import REFERENCES

NAME = "tanh digits, step 1,000"


def main():
    jax.config.update("jax_enable_x64", True)
    flow, reference = FLOWS[NAME](), json.loads(REFERENCES.read_text())[NAME]["value"]
    tw.gradient_flow_solution(flow.problem, flow.w, rtol=1e-2)  # compiles
    for rtol in (1e-4, 1e-5):
        begin = time.perf_counter()
        s = tw.gradient_flow_solution(flow.problem, flow.w, rtol=rtol)
        seconds = time.perf_counter() - begin
        print(
            f"rtol {rtol:g}: GFS sharpness {s.sharpness:.6f} ± {s.sharpness_error:.1e}, "
            f"relative error {abs(s.sharpness / reference - 1):.1e}, {s.status.name}, "
            f"{s.gradient_evaluations:.0f} gradient evaluations, {seconds:.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
