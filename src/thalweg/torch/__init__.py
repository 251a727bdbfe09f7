"""PyTorch modules as problems: their loss is translated to JAX, and checked against torch's own."""

from thalweg.torch.problem import TorchProblem, supervised

__all__ = ["TorchProblem", "supervised"]


def __dir__() -> list[str]:
    return __all__
