"""Translated torch models against torch's own derivatives, in float64: docs/pytorch-models.md.

    PYTHONPATH=tests python benchmarks/translations.py

Loss, gradient, a Hessian product, residuals, `Jᵀ u` and `J Jᵀ u` of every model in
`tests/torch_models.py`, with `nn.MSELoss`. Ten minutes, most of which is compiling.
"""

import copy
from contextlib import contextmanager
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn
from torch.autograd import grad

import torch_models
from thalweg.flow.step import value_and_gradient
from thalweg.problems import flatten
from thalweg.problems.programs import hessian_product, residual_products
from thalweg.torch import supervised
from thalweg.torch.translation import TESTED

PAGE = Path(__file__).parents[1] / "docs" / "pytorch-models.md"
QUANTITIES = ("loss", "gradient", "Hessian product", "residuals", "Jᵀ u", "J Jᵀ u")

WRONG = {"orthogonal", "embedding_bag"}
"""Kinds that torchax 0.0.13 translates wrongly, or not at all: `supervised` refuses them."""

SECOND_DERIVATIVE_OF_TORCH_IS_WRONG = {"weight_norm"}
"""By a fifth, in torch 2.13 and 2.14 on the CPU: a difference of torch's gradients tells."""


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    yield
    torch.set_default_dtype(before)


def joined(tensors):
    return torch.cat([t.reshape(-1) for t in tensors])


def torch_derivatives(model, x, y, v, u):
    """Return the quantities by torch alone."""
    model = copy.deepcopy(model).double()
    named = sorted(model.named_parameters(), key=lambda pair: pair[0])
    parameters = [p for _, p in named]

    def pulled_back(of, vector, **options):
        return joined(grad(of, parameters, vector, materialize_grads=True, **options))

    x = x.double() if x.is_floating_point() else x
    by_its_formula = torch.nn.attention.SDPBackend.MATH
    with torch.nn.attention.sdpa_kernel(by_its_formula), default_dtype(torch.float64):
        out = model(x)
        loss = nn.functional.mse_loss(out, y.double())
        r = (2 / out.numel()) ** 0.5 * (out - y.double()).reshape(-1)
        gradient = joined(grad(loss, parameters, create_graph=True, materialize_grads=True))
        product = pulled_back(gradient @ torch.tensor(v), None, retain_graph=True)
        dual = torch.tensor(u, requires_grad=True)
        image = pulled_back(r, dual, create_graph=True)
        both = grad(image, dual, image.detach(), retain_graph=True)[0]
    return [a.detach().numpy() for a in (loss, gradient, product, r, image, both)]


def difference_of_gradients(model, x, y, v, h=1e-5):
    """Return `H v` by a central difference."""
    gradients = []
    for sign in (1, -1):
        moved = copy.deepcopy(model).double()
        named = sorted(moved.named_parameters(), key=lambda pair: pair[0])
        parts = torch.tensor(v).split([p.numel() for _, p in named])
        with torch.no_grad():
            for (_, parameter), part in zip(named, parts, strict=True):
                parameter += sign * h * part.reshape(parameter.shape)
        loss = nn.functional.mse_loss(moved(x.double()), y.double())
        gradients.append(joined(grad(loss, [p for _, p in named])))
    return ((gradients[0] - gradients[1]) / (2 * h)).numpy()


def compared(name):
    """Return pairs of arrays, translated and by torch, and what a difference says of `H v`."""
    model, x, y = torch_models.case(name)
    problem = supervised(model, x, y, nn.MSELoss())
    flat, w = flatten(problem, problem.parameters(model))
    rng = np.random.default_rng(1)
    v, u = rng.standard_normal(w.size), rng.standard_normal(y.numel())
    loss, gradient = value_and_gradient(flat, w)
    product = hessian_product(flat, w, jnp.asarray(v))
    found = (loss, gradient, product, *residual_products(flat, w, jnp.asarray(u)))
    # In the order of Jᵀ u, J Jᵀ u after r, as torch's.
    pairs = list(zip(found, torch_derivatives(model, x, y, v, u), strict=True))
    if name not in SECOND_DERIVATIVE_OF_TORCH_IS_WRONG:
        return pairs, None
    return pairs, difference_of_gradients(model, x, y, v)


def relative_error(found, expected):
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def row(name):
    model = torch_models.case(name)[0]
    size = sum(p.numel() for p in model.parameters())
    if name in WRONG:
        return f"| {name} | {size} | " + " | ".join(["refused"] * len(QUANTITIES)) + " |"
    pairs, measured = compared(name)
    errors = [f"{relative_error(*pair):.0e}" for pair in pairs]
    if measured is not None:
        errors[2] = f"{relative_error(pairs[2][0], measured):.0e}*"
    return f"| {name} | {size} | " + " | ".join(errors) + " |"


def main():
    jax.config.update("jax_enable_x64", True)
    names = list(torch_models.MODELS)
    head = ["model", "parameters", *QUANTITIES]
    lines = [
        "# PyTorch models, translated",
        "",
        "Relative differences from torch's own derivatives in float64, of "
        f"{len(names) - len(WRONG)} models",
        f"({TESTED}). They are made in `tests/torch_models.py`;",
        "`PYTHONPATH=tests python benchmarks/translations.py` writes this page, and",
        "`tests/pytorch/test_models.py` holds all to 1e-9.",
        "",
        f"| {' | '.join(head)} |",
        "|" + "---|" * len(head),
    ]
    for name in names:
        lines.append(row(name))
        print(lines[-1], flush=True)
    lines += [
        "",
        "\\* from a difference of torch's gradients, as accurate as that is: torch has the",
        "second derivative of weight norm wrong by a fifth on the CPU.",
    ]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
