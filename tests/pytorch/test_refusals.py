"""Models of which no fixed, smooth loss can be made: each is refused in one line with a remedy."""

import random
import re

import jax
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from thalweg.torch import supervised, translation

X, Y = torch.linspace(-1, 1, 24).reshape(6, 4), torch.linspace(0, 1, 12).reshape(6, 2).sin()
HERE = re.escape(__file__)


def refused(model, *, match, x=X, y=Y, loss=None, kind=ValueError):
    with pytest.raises(kind, match=match) as caught:
        supervised(model, x, y, loss or nn.MSELoss())
    message = str(caught.value)
    assert len(message.splitlines()) == 1, message
    return message


class Forward(nn.Module):
    """A linear layer, and what a test does to its output."""

    def __init__(self, change):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.change = nn.Linear(4, 2), change

    def forward(self, x):
        return self.change(self, self.layer(x))


def test_active_dropout_is_named():
    drop = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.Dropout(0.1)), nn.Linear(3, 2))
    refused(drop, match=r"dropout of layer '1.0' is active.*model\.eval\(\)")
    attention = nn.Sequential(nn.MultiheadAttention(4, 2, dropout=0.1))
    refused(attention, match=r"dropout of layer '0' is active")
    lstm = nn.LSTM(4, 2, 2, dropout=0.5)
    refused(lstm, match=r"dropout of layer 'LSTM' is active")


def test_randomness_in_forward():
    refused(
        Forward(lambda self, x: functional.dropout(x)),
        match=rf"draws random numbers \({HERE}:\d+\)",
    )
    noisy = Forward(lambda self, x: x + torch.randn(2, generator=torch.Generator().manual_seed(0)))
    refused(noisy, match=rf"draws random numbers \({HERE}:\d+\)")


def grow(self, x):
    self.count = getattr(self, "count", 0) + 1
    return x * self.count


def test_memory_in_forward():
    refused(Forward(grow), match="two calls of the model differ")
    by_python = Forward(lambda self, x: x * random.random())
    refused(by_python, match="two calls of the model differ")


def branch(self, x):
    return x if x.sum() > 0 else -x


def repeat(self, x):
    for _ in range(int(x.abs().max() * 3)):
        x = x * 2
    return x


@pytest.mark.parametrize(
    "change",
    [
        *(branch, repeat, lambda self, x: x * x.max().item(), lambda self, x: x * x.tolist()[0][0]),
        *(lambda self, x: x * x[x > 0].sum(), lambda self, x: x * torch.nonzero(x).sum()),
    ],
)
def test_control_flow_that_depends_on_the_data(change):
    message = refused(Forward(change), match=rf"looks at numbers .*\({HERE}:\d+\)")
    line = int(re.search(rf"{HERE}:(\d+)", message).group(1))
    assert line == change.__code__.co_firstlineno + (change.__name__ in ("branch", "repeat"))


def test_numpy_in_forward():
    def by_numpy(self, x):
        return x * torch.from_numpy(np.tanh(x.detach().numpy()))

    refused(Forward(by_numpy), match=rf"leaves torch for NumPy \({HERE}:\d+\)")


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Square(torch.autograd.Function):
    """With its right derivative, which torch cannot differentiate again."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return 2 * ctx.saved_tensors[0] * gradient


def test_a_backward_that_is_not_the_derivative():
    refused(
        Forward(lambda self, x: StraightThrough.apply(3 * x)),
        match=r"torch's gradient is not the derivative of the loss \(StraightThrough\)",
    )
    detached = Forward(lambda self, x: x + (x**2).detach())
    refused(detached, match=r"is not the derivative of the loss: .*detach")


@pytest.mark.slow
def test_a_backward_that_is_the_derivative_is_taken():
    model = Forward(lambda self, x: Square.apply(x))
    problem = supervised(model, X, Y, nn.MSELoss())
    expected = nn.MSELoss()(model(X), Y).item()
    assert float(problem(problem.parameters(model))) == pytest.approx(expected, rel=1e-6)


def test_dtypes_written_into_the_model():
    rounding = Forward(lambda self, x: functional.softmax(x.float(), -1).double())
    refused(rounding, match=rf"rounds to a lower precision \({HERE}:\d+\).*in place of x.float")
    mixing = Forward(lambda self, x: functional.linear(x.float(), self.layer.weight.T))
    refused(mixing, match=rf"dtype is written into the model or the loss \({HERE}:\d+\)")
    casting = Forward(lambda self, x: x)
    refused(
        casting,
        loss=lambda out, y: ((out.half() - y) ** 2).mean(),
        match=rf"rounds to a lower precision \({HERE}:\d+\)",
    )


@pytest.mark.slow
def test_masks_in_single_precision_do_no_harm():
    model = Forward(lambda self, x: x * (X[:, :2] > 0).float() + torch.zeros(2))
    problem = supervised(model, X, Y, nn.MSELoss())
    expected = nn.MSELoss()(model(X), Y).item()
    assert float(problem(problem.parameters(model))) == pytest.approx(expected, rel=1e-6)


def replace_operator(monkeypatch, operator, function):
    environment = translation._environment()
    right = environment._get_op_or_decomp(operator)
    changed = type(right)(**{**vars(right), "func": function})
    monkeypatch.setitem(environment._ops, operator, changed)


def test_a_wrong_translation_is_not_used(monkeypatch):
    wrong = lambda x, approximate="none": x * jax.nn.sigmoid(x)  # noqa: E731
    replace_operator(monkeypatch, torch.ops.aten.gelu.default, wrong)
    refused(
        nn.Sequential(nn.Linear(4, 3), nn.GELU(), nn.Linear(3, 2)),
        match="loss or gradient of the translation by torchax differs from torch's",
    )


@jax.custom_jvp
def tanh(x):
    return jax.numpy.tanh(x)


@jax.custom_jvp
def slope(x):
    return 1 - jax.numpy.tanh(x) ** 2


tanh.defjvp(lambda x, v: (tanh(*x), slope(*x) * v[0]))
slope.defjvp(lambda x, v: (slope(*x), jax.numpy.zeros_like(v[0])))


def test_a_wrong_second_derivative_is_not_used(monkeypatch):
    replace_operator(monkeypatch, torch.ops.aten.tanh.default, tanh)
    refused(
        nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)),
        match="Hessian of the translation by torchax differs from torch's",
    )


def test_state_dicts_that_do_not_fit():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)).eval()
    problem = supervised(model, X, Y, nn.MSELoss())
    state = model.state_dict()

    def say(source, match, kind=ValueError):
        with pytest.raises(kind, match=match) as caught:
            problem.parameters(source)
        assert "\n" not in str(caught.value)

    say({k: v for k, v in state.items() if k != "0.bias"}, "misses 0.bias")
    say(state | {"3.bias": torch.ones(2)}, "unexpected 3.bias")
    say({"module." + k: v for k, v in state.items()}, r"take 'module\.' off its keys")
    say({"epoch": 3, "model": state}, r"pass one of its entries, as checkpoint\['model'\]")
    say(state | {"0.bias": torch.ones(4)}, r"0.bias has shape \(4,\), but \(3,\)")
    say(nn.Linear(4, 2), "misses 0.bias, 0.weight, 1.bias and 6 more and has the unexpected")
    say(X, "from a module or a state dict, not from Tensor", TypeError)
    assert problem.parameters(state).keys() == state.keys()


def test_tied_parameters_that_differ():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x))[:, :2]

    model = Tied()
    problem = supervised(model, X, Y, nn.MSELoss())
    state = model.state_dict() | {"b.weight": torch.ones(4, 4)}
    with pytest.raises(ValueError, match=r"b\.weight and a\.weight are one tensor"):
        problem.parameters(state)


def test_calls_that_make_no_sense():
    linear = nn.Linear(4, 2)
    refused(lambda x: x, match="must be a torch.nn.Module, not function", kind=TypeError)
    refused(linear, x=X.numpy(), match="x must be one tensor, not ndarray", kind=TypeError)
    refused(linear, x=(X, X), match="x must be one tensor, not tuple", kind=TypeError)
    refused(linear, y=Y[:3], match=r"returns shape \(6, 2\), but y has \(3, 2\)")
    refused(linear, y=Y[:, 0], match=r"returns shape \(6, 2\), but y has \(6,\)")
    refused(linear, x=X[:, :3], match="the model cannot be called on x")
    refused(linear, loss=nn.MSELoss(reduction="none"), match="must return one number")
    refused(nn.LazyLinear(2), match="weight has no shape yet: call the model once")
    refused(nn.Linear(4, 2).requires_grad_(False), match="nothing is trained")
    refused(nn.LSTM(4, 2), match="the model returns a tuple: wrap it")
    refused(nn.Sequential(linear, nn.BatchNorm1d(2)), x=X[:1], y=Y[:1], match="cannot be called")
    refused(linear, x=X * np.nan, match="not finite|NaN")
    in_place = Forward(lambda self, x: torch.sigmoid(x).mul_(2))
    refused(in_place, match="torch cannot differentiate the model: RuntimeError")


def test_float64_must_be_on():
    with jax.enable_x64(False):
        refused(nn.Linear(4, 2), match=r"jax\.config\.update\('jax_enable_x64', True\) first")


def test_operators_without_a_translation():
    bag = nn.Sequential(nn.EmbeddingBag(7, 2))
    tokens = torch.arange(12).reshape(6, 2) % 7
    refused(bag, x=tokens, match=r"_embedding_bag\S* cannot be translated by torchax")


@pytest.mark.parametrize("missing", ["torch", "torchax"])
def test_what_is_not_installed_is_named(monkeypatch, missing):
    def version(name):
        if name == missing:
            raise translation.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(translation, "version", version)
    message = rf"{missing} is not installed: pip install 'thalweg\[torch\]' \(tested: torch 2\.13"
    refused(nn.Linear(4, 2), match=message, kind=ModuleNotFoundError)


def test_operators_that_torch_has_removed_are_missed_by_torchax_alone():
    look = "torch.ops.aten.never_was, torch.ops.aten.never_was.default, torch.ops.aten.sum.never"
    with translation._without_removed_operators():
        table = dict.fromkeys(eval(look, {"torch": torch, "__name__": "torchax.amp"}))
        assert len(table) == 3
        with pytest.raises(AttributeError):
            eval(look, {"torch": torch, "__name__": "torchaudio"})
    with pytest.raises(AttributeError):
        eval(look, {"torch": torch, "__name__": "torchax.amp"})


def test_versions_that_do_not_fit_are_named(monkeypatch):
    def fail():
        raise AttributeError("module 'torch' has no attribute 'nn'\nindeed")

    monkeypatch.setattr(translation, "_environment", fail)
    monkeypatch.setattr(translation, "version", lambda name: "0.1")
    message = r"torch 0\.1 and torchax 0\.1 do not fit together \(.*\): install what is tested"
    refused(nn.Linear(4, 2), match=message, kind=ImportError)
