"""How long does one wait for a new network? Compile time, in units of that of an ordinary solver.

    python benchmarks/compiling.py                    # the ratio for each architecture
    python benchmarks/compiling.py --programs mlp     # and what it is spent on
    python benchmarks/compiling.py --problems 50      # seconds for so many small flows

For a new loss: seconds of a first `tw.sharpness` and a first `tw.gradient_flow_solution`, beyond
those of the same again, over those of one `diffrax.diffeqsolve` with Tsit5. The small flows are of
a new structure each.
"""

import argparse
import time
from collections import defaultdict

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import thalweg as tw
from thalweg.experiments import Network
from thalweg.models import ARCHITECTURES
from thalweg.problems import flatten

SHOWN = 14  # programs
BUDGET = 4000  # gradients: enough for estimates of the limit
EVENTS = ("trace_duration", "to_mlir_module_duration", "backend_compile_duration")


class Watch:
    """Adds up what JAX says that it spends on each program, by its name."""

    def __init__(self):
        self.seconds = defaultdict(float)
        jax.monitoring.register_event_duration_secs_listener(self.note)

    def note(self, event, seconds, **details):
        """Add what JAX reports."""
        if any(part in event for part in EVENTS):
            self.seconds[details.get("fun_name", "?"), event.rsplit("/", 1)[-1]] += seconds

    def during(self, task):
        """Return what is spent in a task."""
        self.seconds.clear()
        task()
        return dict(self.seconds)


@eqx.filter_jit
def solve(flat, vector):
    """Follow the flow for a very short time."""
    return diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, v, args: -args.gradient(v)),
        diffrax.Tsit5(),
        t0=0.0,
        t1=1e-3,
        dt0=1e-4,
        y0=vector,
        args=flat,
        stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-9),
    ).ys


def tsit5(problem, w):
    jax.block_until_ready(solve(*flatten(problem, w)))


def thalweg(problem, w):
    tw.sharpness(problem, w)
    tw.gradient_flow_solution(problem, w, max_gradient_evaluations=BUDGET)


def ratio(watch, name, programs):
    """Return the compile time of thalweg over that of Tsit5, for a new network."""
    problem, w = Network(architecture=name, samples=20).build()
    seconds = {}
    for task in (tsit5, thalweg):
        timed = []
        for _ in range(2):
            begin = time.perf_counter()
            spent = watch.during(lambda task=task: task(problem, w))
            timed.append(time.perf_counter() - begin)
            if programs and len(timed) == 1:
                show(task, spent)
        seconds[task] = timed[0] - timed[1]
        print(f"  {name}, {task.__name__}: first {timed[0]:.2f} s, again {timed[1]:.2f} s")
    return seconds[thalweg] / seconds[tsit5]


def show(task, spent):
    """Print the dearest programs of a task."""
    by_name = defaultdict(float)
    for (program, _), s in spent.items():
        by_name[program.removeprefix("jit(").removesuffix(")")] += s
    for program, s in sorted(by_name.items(), key=lambda item: -item[1])[:SHOWN]:
        print(f"  {task.__name__} {s:6.2f} s  {program}")
    print(f"  {task.__name__} {sum(by_name.values()):6.2f} s in all, {len(by_name)} programs")


def small_problem(number):
    """Return a small least-squares network whose structure no other number shares."""
    rng = np.random.default_rng(number)
    width, inputs = 3 + number % 7, 1 + number // 7
    x = jnp.asarray(rng.normal(size=(5, inputs)))
    w = {
        "in": jnp.asarray(rng.normal(size=(inputs, width))),
        "out": jnp.asarray(rng.normal(size=width)),
    }
    return tw.Supervised(lambda w, x: jnp.tanh(x @ w["in"]) @ w["out"], x, jnp.sin(x[:, 0])), w


def many(count):
    """Print how long so many flows take, each of a structure of its own."""
    begin, statuses = time.perf_counter(), defaultdict(int)
    for number in range(count):
        statuses[tw.gradient_flow_solution(*small_problem(number)).status.name] += 1
    print(f"{count} small problems: {time.perf_counter() - begin:.0f} s, {dict(statuses)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("architectures", nargs="*", default=[], help=", ".join(ARCHITECTURES))
    parser.add_argument("--programs", action="store_true", help="show what the time is spent on")
    parser.add_argument("--problems", type=int, default=0, metavar="N")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    watch = Watch()
    if options.problems:
        return many(options.problems)
    for name in options.architectures or ARCHITECTURES:
        print(f"{name}: {ratio(watch, name, options.programs):.1f} times Tsit5", flush=True)
    return None


if __name__ == "__main__":
    main()
