"""Every kind of layer: value, derivatives, J and Jᵀ against torch's own automatic derivatives."""

import copy
from contextlib import contextmanager

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import grad

import torch_models
from marks import slow
from thalweg.flow.step import value_and_gradient
from thalweg.problems import flatten
from thalweg.problems.programs import hessian_product, residual_products
from thalweg.torch import supervised

WRONG = {"orthogonal", "embedding_bag"}
"""Kinds that torchax 0.0.13 translates wrongly, or not at all."""


SECOND_DERIVATIVE_OF_TORCH_IS_WRONG = {"weight_norm"}
"""By a fifth, in torch 2.13 on the CPU: a difference of torch's gradients tells."""


def attention_by_its_formula():
    return torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    yield
    torch.set_default_dtype(before)


def torch_derivatives(model, x, y, v, u):
    """Return loss, gradient, `H v`, `r`, `Jᵀ u` and `J Jᵀ u` of `nn.MSELoss`, in float64."""
    model = copy.deepcopy(model).double()
    named = sorted(model.named_parameters(), key=lambda pair: pair[0])
    parameters = [p for _, p in named]

    def joined(tensors):
        return torch.cat([t.reshape(-1) for t in tensors])

    def pulled_back(of, vector, **options):
        return joined(grad(of, parameters, vector, materialize_grads=True, **options))

    x = x.double() if x.is_floating_point() else x
    with attention_by_its_formula(), default_dtype(torch.float64):
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
        gradients.append(torch.cat([g.reshape(-1) for g in grad(loss, [p for _, p in named])]))
    return ((gradients[0] - gradients[1]) / (2 * h)).numpy()


@pytest.mark.parametrize(
    "name", ["tanh", *slow(*sorted(torch_models.MODELS.keys() - WRONG - {"tanh"}))]
)
def test_derivatives_are_those_of_torch(name):
    model, x, y = torch_models.case(name)
    problem = supervised(model, x, y, nn.MSELoss())
    flat, w = flatten(problem, problem.parameters(model))
    rng = np.random.default_rng(1)
    v, u = rng.standard_normal(w.size), rng.standard_normal(y.numel())
    loss, gradient = value_and_gradient(flat, w)
    product = hessian_product(flat, w, jnp.asarray(v))
    found = (loss, gradient, product, *residual_products(flat, w, jnp.asarray(u)))
    expected = torch_derivatives(model, x, y, v, u)
    if name in SECOND_DERIVATIVE_OF_TORCH_IS_WRONG:
        measured = difference_of_gradients(model, x, y, v)
        assert np.linalg.norm(expected[2] - measured) > 0.1 * np.linalg.norm(measured)
        assert np.linalg.norm(product - measured) <= 1e-7 * np.linalg.norm(measured)
        expected[2] = product
    for one, other in zip(found, expected, strict=True):
        assert np.linalg.norm(one - other) <= 1e-9 * np.linalg.norm(other)


@pytest.mark.parametrize("name", slow(*sorted(WRONG)))
def test_what_torchax_has_wrong_is_refused(name):
    model, x, y = torch_models.case(name)
    with pytest.raises(ValueError, match=r"is not used|cannot be translated") as caught:
        supervised(model, x, y, nn.MSELoss())
    assert "\n" not in str(caught.value)


def test_there_are_enough_models():
    assert len(torch_models.MODELS.keys() - WRONG) >= 50
