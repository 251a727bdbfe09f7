"""The kinds of fresh problems, how many there are of each, and how to draw one from its seed."""

from zlib import crc32

import numpy as np

import fresh_networks as networks
import fresh_toys as toys

# The function that draws a case, and the number of seeds.
KINDS = {
    "factorised": (toys.factorised, 48),
    "decay": (toys.decay, 48),
    "drift": (toys.drift, 32),
    "hinge": (toys.hinge, 45),
    "recurrent": (networks.recurrent, 36),
    "deep": (networks.deep, 48),
    "layer norm": (networks.layer_norm, 18),
    "attention": (networks.attention, 24),
    "degenerate": (toys.degenerate, 9),
    "kinked network": (networks.kinked_network, 24),
    "kinked toy": (toys.kinked_toy, 8),
    "unsettled": (toys.unsettled, 32),
}


def draw(kind, seed):
    """Return the case of a kind and a seed; any seed may be asked for."""
    return KINDS[kind][0](seed, np.random.default_rng((seed, crc32(kind.encode()))))


def all_settings_early(cases):
    """Return the pairs of a kind and a seed in an order whose first part has something of all."""
    return sorted(cases, key=lambda case: (7 * case[1] % 48, list(KINDS).index(case[0])))
