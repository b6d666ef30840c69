"""Many small nets trained at once: each tensor has a leading axis, the nets.

A table of learning curves is some thousands of trainings. Nets of one shape with one batch size
and one optimizer go in a batch; learning rate, weight decay, dropout, weights, rows and their order
are each net's own. Written out for the three kinds of net that `fold_tables` trains.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

AT_ONCE = 60
"""Nets in a batch, at most: more do not fit into the caches."""

Weights = dict[str, Tensor]


def linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    """Apply a layer to ``n_nets x n_rows x n_inputs``."""
    return torch.baddbmm(weights[f"{name}.b"], x, weights[f"{name}.w"])


def dropped(x: Tensor, share: Tensor | None) -> Tensor:
    """Apply dropout with each net's own share, of shape ``n_nets x 1 x 1``."""
    if share is None:
        return x
    return x * (torch.rand_like(x) >= share) / (1 - share)


class Perceptron:
    """Hidden layers of one width, ReLU and dropout after each."""

    def __init__(self, shape: tuple[int, ...], n_outputs: int, params: Mapping[str, Any]) -> None:
        width, depth = params["module__hidden_units"], params["module__n_layers"]
        sizes = [shape[-1], *[width] * depth, n_outputs]
        self.layers = {str(i): pair for i, pair in enumerate(pairwise(sizes))}

    def __call__(self, weights: Weights, x: Tensor, share: Tensor | None) -> Tensor:
        *hidden, last = self.layers
        for name in hidden:
            x = dropped(linear(weights, name, x).relu(), share)
        return linear(weights, last, x)


class Residual:
    """Blocks ``x + linear(dropout(relu(linear(norm(x)))))``, as of tabular residual nets."""

    def __init__(self, shape: tuple[int, ...], n_outputs: int, params: Mapping[str, Any]) -> None:
        width, self.depth = params["module__hidden_units"], params["module__n_layers"]
        self.layers = {"in": (shape[-1], width), "out": (width, n_outputs)}
        for i in range(self.depth):
            self.layers |= {f"{i}.up": (width, 2 * width), f"{i}.down": (2 * width, width)}

    def __call__(self, weights: Weights, x: Tensor, share: Tensor | None) -> Tensor:
        x = linear(weights, "in", x)
        for i in range(self.depth):
            inner = linear(weights, f"{i}.up", F.layer_norm(x, x.shape[-1:])).relu()
            x = x + linear(weights, f"{i}.down", dropped(inner, share))
        return linear(weights, "out", F.layer_norm(x, x.shape[-1:]).relu())


class Convolutional:
    """One or two layers of 3 x 3 convolutions, each pooled by 2, then a linear layer.

    A sample is the ``64 x 9`` patches of an 8 x 8 image: the first convolution is a product.
    """

    def __init__(self, shape: tuple[int, ...], n_outputs: int, params: Mapping[str, Any]) -> None:
        channels, self.depth = params["module__channels"], params["module__n_layers"]
        self.layers = {"0": (9, channels)}
        if self.depth == 2:
            self.layers["1"] = (9 * channels, 2 * channels)
        self.layers["out"] = (16 * channels if self.depth == 1 else 8 * channels, n_outputs)

    def __call__(self, weights: Weights, x: Tensor, share: Tensor | None) -> Tensor:
        n_nets, n_rows = x.shape[:2]
        x = linear(weights, "0", x.flatten(1, 2)).relu()
        x = self._pooled(x.view(n_nets, n_rows, 8, 8, -1))
        if self.depth == 2:
            around = F.pad(x, (0, 0, 1, 1, 1, 1))
            patches = [around[:, :, i : i + 4, j : j + 4] for i in range(3) for j in range(3)]
            x = torch.cat(patches, -1).view(n_nets, n_rows * 16, -1)
            x = self._pooled(linear(weights, "1", x).relu().view(n_nets, n_rows, 4, 4, -1))
        return linear(weights, "out", dropped(x.flatten(2), share))

    @staticmethod
    def _pooled(x: Tensor) -> Tensor:
        a, b, height, width, channels = x.shape
        return x.view(a, b, height // 2, 2, width // 2, 2, channels).amax(dim=(3, 5))


KINDS = {"perceptron": Perceptron, "residual": Residual, "convolutional": Convolutional}


def start(layers: Mapping[str, tuple[int, int]], n_nets: int) -> Weights:
    """Return the weights that `torch.nn.Linear` starts with, other ones for each net."""
    weights = {}
    for name, (n_in, n_out) in layers.items():
        bound = 1 / math.sqrt(n_in)
        weights[f"{name}.w"] = torch.empty(n_nets, n_in, n_out).uniform_(-bound, bound)
        weights[f"{name}.b"] = torch.empty(n_nets, 1, n_out).uniform_(-bound, bound)
    return {name: weight.requires_grad_() for name, weight in weights.items()}


class Optimizer:
    """SGD with momentum 0.9, Adam or RMSprop as torch has them, with each net's own rates.

    Parameters
    ----------
    name : str
        ``SGD``, ``Adam`` or ``RMSprop``.
    weights : dict of Tensor
        Each with the nets as its first axis.
    lr, weight_decay : Tensor
        Of shape ``n_nets x 1 x 1``.
    """

    def __init__(self, name: str, weights: Weights, lr: Tensor, weight_decay: Tensor) -> None:
        self._step = {"SGD": self._sgd, "Adam": self._adam, "RMSprop": self._rmsprop}[name]
        self._weights, self._lr, self._decay, self._n = list(weights.values()), lr, weight_decay, 0
        self._first = [torch.zeros_like(weight) for weight in self._weights]
        self._second = [torch.zeros_like(weight) for weight in self._weights]

    def step(self, gradients: Sequence[Tensor]) -> None:
        self._n += 1
        with torch.no_grad():
            for weight, gradient, *moments in zip(
                self._weights, gradients, self._first, self._second, strict=True
            ):
                self._step(weight, gradient.addcmul(weight, self._decay), *moments)

    def _sgd(self, weight: Tensor, gradient: Tensor, first: Tensor, _: Tensor) -> None:
        first.mul_(0.9).add_(gradient)
        weight.sub_(self._lr * first)

    def _adam(self, weight: Tensor, gradient: Tensor, first: Tensor, second: Tensor) -> None:
        first.lerp_(gradient, 0.1)
        second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        scale = (second / (1 - 0.999**self._n)).sqrt_().add_(1e-8)
        weight.sub_(self._lr / (1 - 0.9**self._n) * first / scale)

    def _rmsprop(self, weight: Tensor, gradient: Tensor, _: Tensor, second: Tensor) -> None:
        second.mul_(0.99).addcmul_(gradient, gradient, value=0.01)
        weight.sub_(self._lr * gradient / second.sqrt().add_(1e-8))


def losses(outputs: Tensor, y: Tensor) -> Tensor:
    """Return ``n_nets x n_rows``: cross-entropy of whole numbers, squared error of others."""
    if y.is_floating_point():
        return (outputs[..., 0] - y).square()
    flat = F.cross_entropy(outputs.flatten(0, 1), y.flatten(), reduction="none")
    return flat.view(y.shape)


def scores(outputs: Tensor, y: Tensor) -> Tensor:
    """Return each net's accuracy, or its R² where that is above -1."""
    if y.is_floating_point():
        errors = (outputs[..., 0] - y).square().mean(1)
        found = 1 - errors / y.var(1, correction=0)
        return torch.nan_to_num(found, nan=-1.0).clamp(min=-1.0)
    return (outputs.argmax(-1) == y).float().mean(1)


def train(
    kind: str,
    X: Tensor,
    y: Tensor,
    n_outputs: int,
    params: Sequence[Mapping[str, Any]],
    folds: Sequence[tuple[Tensor, Tensor]],
    n_epochs: int,
) -> tuple[Tensor, Tensor]:
    """Train one net on each of the folds; all have one shape, optimizer and batch size.

    Returns
    -------
    tuple of Tensor
        Scores and mean losses on the validation parts, each ``n_nets x n_epochs``. A loss that is
        not finite is inf.
    """
    net = KINDS[kind](tuple(X.shape[1:]), n_outputs, params[0])
    lr, decay, share = (
        torch.tensor([each[name] for each in params])[:, None, None]
        for name in ("lr", "optimizer__weight_decay", "module__dropout")
    )
    weights = start(net.layers, len(params))
    name = str(params[0]["optimizer"]).rpartition(".")[2]
    optimizer = Optimizer(name, weights, lr, decay)
    training = torch.stack([rows for rows, _ in folds])
    validation = torch.stack([rows for _, rows in folds])
    X_valid, y_valid = X[validation], y[validation]
    found: tuple[list[Tensor], list[Tensor]] = [], []
    for _ in range(n_epochs):
        for rows in _batches(training, params[0]["batch_size"]):
            loss = losses(net(weights, X[rows], share), y[rows]).mean(1).sum()
            optimizer.step(torch.autograd.grad(loss, list(weights.values())))
        with torch.no_grad():
            outputs = net(weights, X_valid, None)
            found[0].append(scores(outputs, y_valid))
            mean = losses(outputs, y_valid).mean(1)
            found[1].append(torch.nan_to_num(mean, nan=math.inf, posinf=math.inf))
    return torch.stack(found[0], 1), torch.stack(found[1], 1)


def _batches(training: Tensor, size: int) -> Iterator[Tensor]:
    order = torch.rand(training.shape).argsort(1)
    return iter(training.gather(1, order).split(size, dim=1))


def in_groups(
    params: Sequence[Mapping[str, Any]], structural: Sequence[str], n_folds: int
) -> Iterator[list[int]]:
    """Yield the places of settings that go in one batch."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for place, each in enumerate(params):
        groups.setdefault(tuple(each[name] for name in structural), []).append(place)
    most = max(1, AT_ONCE // n_folds)
    for places in groups.values():
        yield from (places[i : i + most] for i in range(0, len(places), most))
