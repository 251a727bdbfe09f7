"""Losses, buffers, frozen and tied parameters, and that what is the user's is left alone."""

import copy
import gc
import threading
import weakref
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import thalweg as tw
import torch_models
from marks import slow
from thalweg.problems import flatten
from thalweg.torch import supervised


def data(samples=8, outputs=3):
    torch.manual_seed(1)
    return torch.randn(samples, 4), torch.randn(samples, outputs)


def network(*layers, outputs=3):
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(4, 5), *layers, nn.Tanh(), nn.Linear(5, outputs))


def by_torch(model, loss, x, y):
    """Return loss and the whole Hessian of a model in float64, by autograd."""
    model, x = copy.deepcopy(model).double(), x.double()
    y = y.double() if y.is_floating_point() else y
    if isinstance(loss, nn.Module):
        loss = copy.deepcopy(loss).double()
    w = {name: p.detach() for name, p in sorted(model.named_parameters()) if p.requires_grad}
    shapes = [one.shape for one in w.values()]

    def value(vector):
        parts = vector.split([shape.numel() for shape in shapes])
        named = {k: p.reshape(s) for k, p, s in zip(w, parts, shapes, strict=True)}
        return loss(torch.func.functional_call(model, named, (x,)), y)

    vector = torch.cat([one.reshape(-1) for one in w.values()])
    hessian = torch.autograd.functional.hessian(value, vector)
    return float(value(vector)), np.linalg.eigvalsh(hessian.numpy())


CLASSES = torch.tensor([0, 2, 1, 1, 0, 2, 0, 1])
SHARES = torch.softmax(torch.arange(24.0).reshape(8, 3).sin(), 1)
LOSSES = {
    "mse": (nn.MSELoss(), None, "squared"),
    "mse_sum": (nn.MSELoss(reduction="sum"), None, "squared"),
    "mse_loss": (functional.mse_loss, None, "squared"),
    "cross_entropy": (nn.CrossEntropyLoss(), CLASSES, "cross_entropy"),
    "smoothed": (nn.CrossEntropyLoss(label_smoothing=0.1), CLASSES, "cross_entropy"),
    "shares": (nn.CrossEntropyLoss(), SHARES, "cross_entropy"),
    "smoothed_shares": (nn.CrossEntropyLoss(label_smoothing=0.2), SHARES, "cross_entropy"),
    "weighted": (nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 0.5])), CLASSES, None),
    "ignored": (nn.CrossEntropyLoss(ignore_index=2), CLASSES, None),
    "summed": (nn.CrossEntropyLoss(reduction="sum"), CLASSES, None),
    "huber": (nn.HuberLoss(), None, None),
    "logistic": (nn.BCEWithLogitsLoss(), SHARES, None),
    "own": (lambda out, y: ((out - y) ** 4).mean() + 0.1 * out.square().sum(), None, None),
}


@pytest.mark.parametrize("name", ["mse", *slow(*sorted(LOSSES.keys() - {"mse"}))])
def test_loss_and_sharpness_are_those_of_the_users_loss(name):
    loss, y, kind = LOSSES[name]
    x, values = data()
    y, model = values if y is None else y, network()
    problem = supervised(model, x, y, loss)
    w = problem.parameters(model)
    value, eigenvalues = by_torch(model, loss, x, y)
    assert problem.loss == kind or kind is None
    assert problem.is_least_squares == (kind == "squared")
    assert float(problem(w)) == pytest.approx(value, rel=1e-12)
    assert tw.sharpness(problem, w, tol=1e-9) == pytest.approx(eigenvalues[-1], rel=1e-8)


@contextmanager
def compilations():
    """Collect what JAX compiles meanwhile."""
    events, is_on = [], True

    def listen(event, *_, **__):
        if is_on and event.endswith("backend_compile_duration"):
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield events
    is_on = False


def batch_normalized(training):
    model = network(nn.BatchNorm1d(5))
    x, y = data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x + 1), y).backward()
        optimizer.step()
        yield model.train(training), x, y
        model.train()


@pytest.mark.slow
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_along_checkpoints_compiles_once(training):
    problem, compiled, sharpnesses = None, [], []
    for model, x, y in batch_normalized(training):
        problem = problem or supervised(model, x, y, nn.MSELoss())
        assert problem.independent_samples(None) == (None if training else len(x))
        for source in (model, model.state_dict()):
            w = problem.parameters(source)
            with compilations() as events:
                sharpnesses.append(tw.sharpness(problem, w, tol=1e-9))
            compiled.append(len(events))
        value, eigenvalues = by_torch(model, nn.MSELoss(), x, y)
        assert float(problem(w)) == pytest.approx(value, rel=1e-12)
        assert sharpnesses[-2:] == pytest.approx([eigenvalues[-1]] * 2, rel=1e-7)
    assert len({round(one, 9) for one in sharpnesses}) == 3
    assert compiled[0] > 0
    assert compiled[1:] == [0] * 5


@pytest.mark.slow
def test_frozen_parameters_are_data():
    model, (x, y) = network(), data()
    model[0].requires_grad_(False)
    problem = supervised(model, x, y, nn.MSELoss())
    w = problem.parameters(model)
    assert flatten(problem, w)[1].size == 5 * 3 + 3
    end = tw.descend(problem, w, step_size=0.1, steps=2).w[0]
    np.testing.assert_array_equal(end["0.weight"].value, model[0].weight.double().numpy())
    with torch.no_grad():
        model[0].weight.mul_(2.0)
    value, eigenvalues = by_torch(model, nn.MSELoss(), x, y)
    assert float(problem(problem.parameters(model))) == pytest.approx(value, rel=1e-12)
    found = tw.sharpness(problem, problem.parameters(model), tol=1e-9)
    assert found == pytest.approx(eigenvalues[-1], rel=1e-8)


@pytest.mark.slow
def test_tied_parameters_are_one_and_come_back_as_two():
    model, x, y = torch_models.case("tied")
    problem = supervised(model, x, y, nn.MSELoss())
    w = problem.parameters(model.state_dict())
    assert "back.weight" not in w
    end = tw.descend(problem, w, step_size=0.1, steps=2).w[0]
    model.load_state_dict(problem.state_dict(end))
    assert model.back.weight is model.there.weight
    assert float(problem(end)) == pytest.approx(nn.MSELoss()(model(x), y).item(), rel=1e-5)


def test_the_state_of_the_user_is_left_alone():
    model, (x, y) = network(nn.BatchNorm1d(5), nn.Dropout(0.0)), data()
    model.register_forward_pre_hook(lambda module, args: None)
    optimizer = torch.optim.Adam(model.parameters())
    nn.MSELoss()(model(x), y).backward()
    optimizer.step()

    def state():
        gradients = [p.grad for p in model.parameters()]
        return [
            *model.state_dict().values(),
            *gradients,
            *jax.tree.leaves(optimizer.state_dict()),
            torch.get_rng_state(),
            torch.backends.mha.get_fastpath_enabled(),
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            model.training,
        ]

    before, where = copy.deepcopy(state()), [p.data_ptr() for p in model.parameters()]
    problem = supervised(model, x, y, nn.MSELoss())
    w = problem.parameters(model)
    problem(w)
    for one, other in zip(before, state(), strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
    assert where == [p.data_ptr() for p in model.parameters()]
    weight = np.array(w["0.weight"])
    with torch.no_grad():
        model[0].weight.add_(1.0)  # the arrays are copies
    np.testing.assert_array_equal(w["0.weight"], weight)


@pytest.mark.slow
def test_no_gradients_and_autocast_around_do_not_matter():
    model, (x, y) = network(), data()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        problem = supervised(model, x, y, nn.MSELoss())
    value, _ = by_torch(model, nn.MSELoss(), x, y)
    assert float(problem(problem.parameters(model))) == pytest.approx(value, rel=1e-12)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_wrapped_modules_are_unwrapped():
    model, (x, y) = network(), data()
    problem = supervised(torch.compile(nn.DataParallel(model)), x, y, nn.MSELoss())
    assert problem.parameters(model).keys() == dict(model.named_parameters()).keys()


@pytest.mark.slow
def test_bfloat16_modules_and_integer_inputs():
    model, x, y = torch_models.case("causal")
    model = model.bfloat16()
    problem = supervised(model, x, y, nn.MSELoss())
    w = problem.parameters(model)
    assert w["qkv.weight"].dtype == jnp.float64
    assert problem.state_dict(w)["qkv.weight"].dtype == torch.bfloat16
    expected = nn.MSELoss()(copy.deepcopy(model).double()(x), y.double()).item()
    assert float(problem(w)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
def test_threads_build_problems_side_by_side():
    values, (x, y) = {}, data()

    def build(seed):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
        problem = supervised(model, x, y, nn.MSELoss())
        expected = nn.MSELoss()(model.double()(x.double()), y.double()).item()
        values[seed] = float(problem(problem.parameters(model))), expected

    threads = [threading.Thread(target=build, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert len(values) == 4
    for found, expected in values.values():
        assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
def test_a_problem_that_is_dropped_keeps_neither_model_nor_data():
    kept, (x, y) = [], data()
    for _ in range(2):
        model = network()
        problem = supervised(model, x, y, nn.MSELoss())
        tw.sharpness(problem, problem.parameters(model))
        kept += [weakref.ref(problem.predict), weakref.ref(problem.predict.module)]
        del model, problem
        gc.collect()
    assert [ref() for ref in kept] == [None] * 4
