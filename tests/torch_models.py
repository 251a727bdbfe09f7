"""Torch models of many kinds: what makes each, the shape of an input, and the number of outputs."""

import torch
from torch import nn
from torch.nn import functional

ACTIVATIONS = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU("tanh"),
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "celu": nn.CELU,
    "leaky_relu": nn.LeakyReLU,
    "prelu": nn.PReLU,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
    "mish": nn.Mish,
    "hardswish": nn.Hardswish,
    "hardtanh": nn.Hardtanh,
    "relu6": nn.ReLU6,
    "softsign": nn.Softsign,
    "logsigmoid": nn.LogSigmoid,
    "tanhshrink": nn.Tanhshrink,
    "softshrink": nn.Softshrink,
    "glu": nn.GLU,
}


def mlp(activation):
    return nn.Sequential(nn.Linear(4, 6), activation(), nn.LazyLinear(2))


class Residual(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.first = nn.Conv2d(2, 3, 3, padding=1)
        self.block = nn.Sequential(norm(), nn.SiLU(), nn.Conv2d(3, 3, 3, padding=1))
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        x = self.first(x)
        h = self.block(x)
        h += x  # in place
        return self.head(h.mean((2, 3)))


class Recurrent(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.core = kind(3, 4, batch_first=True, **options)
        self.head = nn.Linear(4 * (2 if options.get("bidirectional") else 1), 2)

    def forward(self, x):
        return self.head(self.core(x)[0][:, -1])


class OwnState(nn.Module):
    """An LSTM as in the tutorials, which makes its first state by itself."""

    def __init__(self):
        super().__init__()
        self.core, self.head = nn.LSTM(3, 4, 2, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        state = torch.zeros(2, x.size(0), 4).to(x.device)
        out, _ = self.core(x, (state, torch.zeros(2, x.size(0), 4)))
        return self.head(out[:, -1, :])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))


class Causal(nn.Module):
    """Attention as language models write it, with a mask and positions that are buffers."""

    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(7, 4), nn.Embedding(5, 4)
        self.qkv, self.head = nn.Linear(4, 12), nn.Linear(4, 2)
        self.norm = nn.LayerNorm(4)
        self.register_buffer("mask", torch.tril(torch.ones(5, 5)) == 0)

    def forward(self, x):
        h = self.tokens(x) + self.positions(torch.arange(x.shape[1], device=x.device))
        q, k, v = self.qkv(self.norm(h)).chunk(3, dim=-1)
        scores = (q @ k.transpose(-2, -1)) / 4**0.5
        weights = scores.masked_fill(self.mask, float("-inf")).softmax(-1)
        fused = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.head(h + weights @ v + fused)[:, -1]


class Encoder(nn.Module):
    def __init__(self, norm_first):
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            4, 2, 8, dropout=0.0, batch_first=True, norm_first=norm_first
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.encoder(x).mean(1))


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerDecoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.layer(x, x.flip(1))[:, 0])


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.there, self.back = nn.Linear(4, 4, bias=False), nn.Linear(4, 4)
        self.back.weight = self.there.weight
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(torch.tanh(self.back(torch.tanh(self.there(x)))))


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        h = self.first(x)
        h.mul_(2.0).tanh_()
        out = torch.zeros(len(x), 2)
        out[:, 0] = self.second(h)[:, 0]
        out[:, 1] += h[:, 1] * h[:, 2:].sum(1)
        return out


class Einsum(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(4, 3, 2) / 2)
        self.heads = nn.ParameterList([nn.Parameter(torch.randn(3)) for _ in range(2)])

    def forward(self, x):
        h = torch.einsum("ni,ijk->njk", x, self.w)
        h = torch.stack([h[..., k] * head for k, head in enumerate(self.heads)], -1)
        return torch.cat([h.norm(dim=1), torch.logsumexp(h, 1)], -1)[:, 1:3]


class RMSNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))
        self.up, self.gate, self.down = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x):
        x = self.scale * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.down(functional.silu(self.gate(x)) * self.up(x))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(2, 3, 3, padding=1)
        self.middle = nn.Conv2d(3, 3, 3, padding=1)
        self.up = nn.ConvTranspose2d(3, 3, 2, stride=2)
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, x):
        skip = torch.tanh(self.down(x))
        h = self.up(torch.tanh(self.middle(functional.avg_pool2d(skip, 2))))
        return self.head(torch.cat([h, skip], 1)).mean((2, 3))


def convolutions(*layers, channels=3):
    return nn.Sequential(
        nn.Conv2d(2, channels, 3, padding=1), *layers, nn.Flatten(), nn.LazyLinear(2)
    )


def normalized(norm):
    return nn.Sequential(nn.Linear(4, 6), norm, nn.Tanh(), nn.Linear(6, 2))


def weights_by(parametrization):
    return nn.Sequential(parametrization(nn.Linear(4, 6)), nn.Tanh(), nn.Linear(6, 2))


VECTOR, IMAGE, SEQUENCE = (4,), (2, 6, 6), (5, 3)

MODELS = {
    **{name: (lambda a=a: mlp(a), VECTOR) for name, a in ACTIVATIONS.items()},
    "linear": (lambda: nn.Linear(4, 2), VECTOR),
    "bilinear": (lambda: Einsum(), VECTOR),
    "tied": (Tied, VECTOR),
    "in_place": (InPlace, VECTOR),
    "rms_norm": (RMSNorm, VECTOR),
    "layer_norm": (lambda: normalized(nn.LayerNorm(6)), VECTOR),
    "batch_norm_train": (lambda: normalized(nn.BatchNorm1d(6)), VECTOR),
    "batch_norm_eval": (lambda: normalized(nn.BatchNorm1d(6)).eval(), VECTOR),
    "weight_norm": (lambda: weights_by(nn.utils.parametrizations.weight_norm), VECTOR),
    "orthogonal": (
        lambda: weights_by(
            lambda layer: nn.utils.parametrizations.orthogonal(layer, orthogonal_map="cayley")
        ),
        VECTOR,
    ),
    "dropout_eval": (lambda: nn.Sequential(mlp(nn.Tanh), nn.Dropout(0.5)).eval(), VECTOR),
    "convolution": (lambda: convolutions(nn.Tanh()), IMAGE),
    "strided": (lambda: convolutions(nn.Conv2d(3, 3, 3, stride=2), nn.GELU()), IMAGE),
    "grouped": (lambda: convolutions(nn.Conv2d(3, 3, 3, groups=3, dilation=2)), IMAGE),
    "reflected": (
        lambda: convolutions(nn.Conv2d(3, 2, 3, padding="same", padding_mode="reflect")),
        IMAGE,
    ),
    "max_pool": (lambda: convolutions(nn.ReLU(), nn.MaxPool2d(2)), IMAGE),
    "average_pool": (lambda: convolutions(nn.Tanh(), nn.AvgPool2d(2)), IMAGE),
    "adaptive_pool": (lambda: convolutions(nn.Tanh(), nn.AdaptiveAvgPool2d(1)), IMAGE),
    "group_norm": (lambda: convolutions(nn.GroupNorm(2, 4), channels=4), IMAGE),
    "instance_norm": (lambda: convolutions(nn.InstanceNorm2d(3, affine=True)), IMAGE),
    "residual_batch_norm": (lambda: Residual(lambda: nn.BatchNorm2d(3)), IMAGE),
    "residual_eval": (lambda: Residual(lambda: nn.BatchNorm2d(3)).eval(), IMAGE),
    "unet": (UNet, IMAGE),
    "upsampled": (lambda: convolutions(nn.Upsample(scale_factor=2), nn.Tanh()), IMAGE),
    "pixel_shuffle": (lambda: convolutions(nn.PixelShuffle(2), channels=4), IMAGE),
    "convolution_1d": (
        lambda: nn.Sequential(nn.Conv1d(5, 4, 2), nn.Tanh(), nn.Flatten(), nn.LazyLinear(2)),
        SEQUENCE,
    ),
    "lstm": (lambda: Recurrent(nn.LSTM), SEQUENCE),
    "gru": (lambda: Recurrent(nn.GRU, num_layers=2), SEQUENCE),
    "rnn": (lambda: Recurrent(nn.RNN, bidirectional=True), SEQUENCE),
    "own_state": (OwnState, SEQUENCE),
    "attention": (Attention, (5, 4)),
    "causal": (Causal, "tokens"),
    "encoder": (lambda: Encoder(False), (5, 4)),
    "encoder_norm_first": (lambda: Encoder(True), (5, 4)),
    "decoder": (Decoder, (5, 4)),
    "embedding_bag": (lambda: nn.Sequential(nn.EmbeddingBag(7, 4), nn.Linear(4, 2)), "tokens"),
}


def case(name, samples=6):
    """Return the model, inputs, and targets of two outputs."""
    torch.manual_seed(0)
    make, shape = MODELS[name]
    model = make()
    x = torch.randint(7, (samples, 5)) if shape == "tokens" else torch.randn(samples, *shape)
    training = model.training
    with torch.no_grad():
        model.eval()(x)  # lazy layers take their shape
    return model.train(training), x, torch.randn(samples, 2)
