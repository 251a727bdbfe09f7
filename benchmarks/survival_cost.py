"""What it costs to survive: the memory of a long run, and the time that saving takes.

    python benchmarks/survival_cost.py [memory] [time] [part of a name ...]

Memory: the resident set along runs of 100,000 steps with 200 measurements, and with 20,000, saved
as ever. Time: the part of a run that is spent in saving. Each run has a process of its own.
"""

import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LONG = {"steps": 100_000, "sharpness_every": 1000, "gfs_every": 1000, "gfs_start": 1000}
EVERY = {"sharpness_every": 10, "gfs_every": 10}
SMALL = {"samples": 8, "widths": (4,), "rtol": 1e-2}
MEMORY = {
    "scalar": ("Scalar", LONG),
    "scalar, 20,000 measurements": ("Scalar", LONG | EVERY),
    "squared regression": ("SquaredRegressionExperiment", LONG),
    "network, integrated flows": ("DigitsMLP", LONG | SMALL),
}
TIME = {
    "main job, 2,000 steps": ("DigitsMLP", {"steps": 2000}),
    "network, 20,000 steps": ("DigitsMLP", LONG | SMALL | {"steps": 20_000}),
    "squared regression, 400 steps, at each": ("SquaredRegressionExperiment", {}),
    "squared regression, 5,000 steps, at each": ("SquaredRegressionExperiment", {"steps": 5000}),
    "scalar, 200 steps": ("Scalar", {}),
    "scalar, 20,000 steps": ("Scalar", {"steps": 20_000}),
    "scalar, 100,000 steps, 200 measurements": ("Scalar", LONG),
}


class SavingTimer:
    """Sums up the seconds that saving takes, and notes the resident set at each report."""

    def __init__(self):
        self.saving, self.saves, self.slowest, self.steps, self.resident = 0.0, 0, 0.0, [], []

    def watch(self, saver):
        """Have the calls of a class of savers timed."""
        consider, write = saver.consider, saver._write_checkpoint

        def timed(this, progress, *, stopping):
            began = time.perf_counter()
            consider(this, progress, stopping=stopping)
            seconds = time.perf_counter() - began
            self.saving, self.slowest = self.saving + seconds, max(self.slowest, seconds)

        def counted(this, progress):
            self.saves += 1
            write(this, progress)

        saver.consider, saver._write_checkpoint = timed, counted

    def report(self, progress):
        """Note the resident set, as a report of a run."""
        self.steps.append(progress.step)
        self.resident.append(resident())


def resident():
    """Return the resident set of this process, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def measure(kind, options, end):
    """Run an experiment, and send what was measured."""
    import h5netcdf  # noqa: F401 - what it takes is no growth of the run that first writes results
    import jax

    from thalweg import experiments
    from thalweg.runs import saving

    jax.config.update("jax_enable_x64", True)
    timer = SavingTimer()
    timer.watch(saving.Saver)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        config = getattr(experiments, kind)(**options)
        summary = experiments.run(config, Path(folder) / "run", report=timer.report)
        seconds = time.perf_counter() - began
    assert summary["runs"][0]["status"] == "completed"
    end.send((timer.__dict__, summary["seconds"], seconds))


def measured(kind, options):
    """Return what `measure` sends from a process of its own."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=measure, args=(kind, options, there))
    process.start()
    there.close()
    found = here.recv()
    process.join()
    return found


def memory(names):
    print("Resident set, MiB, along the run; growth from 10 % of the steps on, by a straight line")
    print(f"{'run':36s} {'10 %':>7s} {'50 %':>7s} {'100 %':>7s} {'per 100,000 steps':>18s}   s")
    for name in names:
        kind, options = MEMORY[name]
        found, seconds, _ = measured(kind, options)
        steps, values = np.asarray(found["steps"]), np.asarray(found["resident"])
        at = [values[np.searchsorted(steps, part * options["steps"])] for part in (0.1, 0.5, 1.0)]
        late = steps >= 0.1 * options["steps"]
        slope = np.polyfit(steps[late] / 1e5, values[late], 1)[0]
        numbers = " ".join(f"{value:7.1f}" for value in at)
        print(f"{name:36s} {numbers} {slope:+18.1f} {seconds:5.0f}", flush=True)


def cost(names):
    print("Time that saving takes while the descent goes on, as a share of the run")
    print(
        f"{'run':42s} {'run, s':>7s} {'saves':>5s} {'saving, s':>9s} {'share':>7s} {'slowest':>8s}"
    )
    for name in names:
        found, seconds, _ = measured(*TIME[name])
        share = found["saving"] / seconds
        print(
            f"{name:42s} {seconds:7.1f} {found['saves']:5d} {found['saving']:9.3f} {share:7.2%} "
            f"{1e3 * found['slowest']:5.0f} ms",
            flush=True,
        )


def main():
    parts = [word for word in sys.argv[1:] if word not in ("memory", "time")] or [""]
    both = not {"memory", "time"} & set(sys.argv[1:])
    if both or "memory" in sys.argv:
        memory([name for name in MEMORY if any(part in name for part in parts)])
    if both or "time" in sys.argv:
        cost([name for name in TIME if any(part in name for part in parts)])


if __name__ == "__main__":
    main()
