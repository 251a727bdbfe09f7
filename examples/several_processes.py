"""One run on several processes, each of which holds a part of the data.

In two terminals, or on two machines (then with the name of the first in place of localhost)::

    python examples/several_processes.py localhost:9876 2 0
    python examples/several_processes.py localhost:9876 2 1

Under Slurm and other schedulers that JAX knows, `srun python examples/several_processes.py` finds
address, number of processes and its own number by itself.
"""

import sys

import jax

import thalweg as tw


def main(arguments):
    jax.config.update("jax_enable_x64", True)
    if arguments:
        address, processes, number = arguments
        jax.distributed.initialize(address, int(processes), int(number))
    else:
        jax.distributed.initialize()

    # Every process makes the same problem and start, and asks the same.
    x, y = tw.data.digits(20)
    w = tw.models.mlp_init(jax.random.key(0), (x.shape[1], 16, y.shape[1]))
    problem = tw.shard_samples(tw.Supervised(tw.models.mlp, x, y))
    measured = [tw.Sharpness(every=25), tw.GFSSharpness(every=50, rtol=1e-3)]
    run = tw.descend(problem, w, step_size=0.1, steps=50, measurements=measured)

    if jax.process_index() == 0:  # one of them tells, and writes
        found = run.dataset.isel(run=0)
        print(f"{len(jax.devices())} devices in {jax.process_count()} processes")
        rows = (found[name].values for name in ("gfs_step", "gfs_sharpness", "gfs_sharpness_error"))
        for step, value, error in zip(*rows, strict=True):
            print(f"{step}: {value:.8f} ± {error:.1e}")


if __name__ == "__main__":
    main(sys.argv[1:])
