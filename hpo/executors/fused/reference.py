"""The user's own net, trained by its own ``fit`` from the draws of a batch of models."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from skorch.callbacks import Callback, EarlyStopping, ProgressBar
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from torch.utils.data import Sampler

from hpo.executors.fused.attributes import Attributes, global_streams
from hpo.fused import (
    REPLAYED,
    ModelState,
    NotFusibleError,
    Plan,
    Replay,
    replay_dropout,
    widen,
    write_state,
)
from hpo.training.adapters import figures_of

__all__ = ["NetReference"]


class NetReference:
    """One trial's net on one fold, the reference for a batch of models (`hpo.fused.Reference`).

    Everything is the user's own: class, callbacks, optimizer, loss, loader. Only the order of the
    minibatches comes from a sampler, and the noise of dropout from layers that replace torch's.

    Parameters
    ----------
    net : skorch net
        A configured net that is not initialized; the reference changes it.
    plan : Plan
    member : ModelState
        Sets the numbers of the optimizer and the dropout rates; all others are the net's own.
    fold : int
        Fold whose initial state and random draws are used.
    seed, n_folds : int
        Seed and number of folds of the batch.
    held_out : pair of tensors of shape (n_samples, ...) or None
        X and y of the net's own validation part, if it has one; then `train` is given the rows
        that its ``train_split`` has left.
    dtype : torch.dtype
        float32 leaves the net and the data as they are; float64 converts both.

    Raises
    ------
    NotFusibleError
        From each method, if the net raises or changes attributes while it trains or evaluates.
    """

    def __init__(
        self,
        net: Any,
        plan: Plan,
        member: ModelState,
        fold: int,
        *,
        seed: int = 0,
        n_folds: int = 2,
        held_out: tuple[torch.Tensor, torch.Tensor] | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.net = net
        self._plan, self._member, self._fold = plan, member, fold
        self._seed, self._n_folds, self._dtype = seed, n_folds, dtype
        self._sampler = _OrderedSampler()
        loader: dict[str, Any] = {"sampler": self._sampler, "shuffle": False}
        if "batch_size" in net.get_params_for("iterator_train"):
            loader["batch_size"] = plan.batch_size
        net.set_params(
            verbose=0,
            warm_start=True,  # otherwise fit would initialize the weights again
            batch_size=plan.batch_size,
            **{f"iterator_train__{name}": value for name, value in loader.items()},
        )
        if net.train_split:
            data = [self._cast(part) for part in held_out or ()]
            net.set_params(train_split=predefined_split(Dataset(*data)) if data else None)
        net.initialize()
        net.callbacks_ = [c for c in net.callbacks_ if not isinstance(c[1], ProgressBar)]
        for _, callback in net.callbacks_:
            if isinstance(callback, EarlyStopping):  # the weights are compared as trained
                callback.load_best = False
        self._convert()
        self._set_state()
        self._evaluation_module = copy.deepcopy(net.module_)
        module, self._layers = replay_dropout(net.module_, member.rates, attention=False)
        vars(net)["module_"] = module.to(next(iter(member.states[fold].values())).device)
        if dtype is torch.float64:
            module.double()
        self._attributes = Attributes(module, REPLAYED)

    def _convert(self) -> None:
        if self._dtype is not torch.float64:
            return
        self.net.module_.double()
        widen(self.net.criterion_)
        for state in self.net.optimizer_.state.values():
            for name, value in state.items():
                if isinstance(value, torch.Tensor) and value.is_floating_point():
                    state[name] = value.double()

    def _set_state(self) -> None:
        """Set the weights, and the numbers of the optimizer that the member defines."""
        net, numbers = self.net, dict[str, Any](self._member.numbers)
        write_state(net.module_, self._member.states[self._fold])
        (group,) = net.optimizer_.param_groups
        if "betas" in group:
            numbers["betas"] = (numbers["beta1"], numbers["beta2"])
        group.update({name: value for name, value in numbers.items() if name in group})

    def train(
        self, numbers: Sequence[int], X: torch.Tensor, y: torch.Tensor, rows: torch.Tensor
    ) -> None:
        """Fit the net on the rows: one epoch for each number, that of the batch's epoch."""
        X, y = (self._cast(data[rows.to(data.device)]) for data in (X, y))
        replay = Replay(self._plan, self._fold, X, seed=self._seed, n_folds=self._n_folds)
        self._sampler.orders = [replay.order(n, torch.arange(len(rows))) for n in numbers]
        noise_callback = _NoiseCallback(replay, self._layers, list(numbers), self._dtype)
        self.net.callbacks_.append(("hpo_draws", noise_callback))
        self.net.max_epochs = max(self.net.max_epochs, len(numbers))
        before = global_streams()
        try:
            self.net.fit(X, y)
        except NotFusibleError:
            raise
        except Exception as error:
            raise _net_error("fit", error) from error
        finally:
            self.net.callbacks_.pop()
            for layer in self._layers.values():
                layer.release()
        if noise_callback.n_begun < len(numbers):
            raise NotFusibleError("the net ends its training by itself, before its last epoch")
        if global_streams() != before:
            raise NotFusibleError(
                "the net draws random numbers of Python's or NumPy's while it trains, which all "
                "models of a batch would share (draw them with torch and in layers of dropout)"
            )
        self._attributes.check("in training")

    def state(self) -> dict[str, torch.Tensor]:
        """Return the weights and buffers."""
        names = self._member.states[self._fold]
        state: Mapping[str, torch.Tensor] = self.net.module_.state_dict()
        return {name: value for name, value in state.items() if name in names}

    def predict(self, X: torch.Tensor) -> torch.Tensor:
        """Return the outputs for samples, in minibatches of the net's own loader."""
        trained = self.net.module_
        attributes = Attributes(self._evaluation_module)
        try:
            net = self.evaluating(self.state())
            outputs: Any = net.forward(self._cast(X), device=str(X.device))
        except Exception as error:
            raise _net_error("forward", error) from error
        finally:
            vars(self.net)["module_"] = trained
        attributes.check("in evaluation")
        if not isinstance(outputs, torch.Tensor):
            raise NotFusibleError(f"the module returns a {type(outputs).__name__} and no tensor")
        return outputs

    def evaluating(self, state: Mapping[str, torch.Tensor]) -> Any:
        """Return the net with these weights in its own module, in which no layer is replaced.

        Before `train` is called again, ``module_`` must be set back.
        """
        write_state(self._evaluation_module, state)
        vars(self.net)["module_"] = self._evaluation_module
        return self.net

    @property
    def train_loss(self) -> float | None:
        """The training loss of the last epoch in the net's history; None if it records none."""
        history = getattr(self.net, "history", None)
        loss = history[-1].get("train_loss") if history else None
        return None if loss is None else float(loss)

    @property
    def figures(self) -> dict[str, float]:
        """Metrics that the net recorded for the last epoch; see `figures_of`."""
        history = getattr(self.net, "history", None)
        return figures_of(history[-1]) if history else {}

    def _cast(self, data: torch.Tensor) -> torch.Tensor:
        converts = self._dtype is torch.float64 and data.is_floating_point()
        return data.double() if converts else data


class _OrderedSampler(Sampler):  # type: ignore[type-arg]
    """Yields rows in a given order for each epoch."""

    def __init__(self) -> None:
        self.orders: list[torch.Tensor] = []
        self._epoch = -1

    def __iter__(self) -> Iterator[int]:
        self._epoch += 1
        return iter(self.orders[self._epoch].tolist())

    def __len__(self) -> int:
        return len(self.orders[max(self._epoch, 0)])


class _NoiseCallback(Callback):  # type: ignore[misc]
    """Sets the noise of dropout for each minibatch, and ends the training after the last epoch."""

    def __init__(self, replay: Replay, layers: Any, numbers: list[int], dtype: torch.dtype) -> None:
        self._replay, self._layers, self._dtype = replay, layers, dtype
        self._numbers = numbers
        self.n_begun = 0

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        self._noises = self._replay.noises(self._numbers[self.n_begun])
        self.n_begun += 1

    def on_batch_begin(self, net: Any, batch: Any = None, training: Any = None, **kw: Any) -> None:
        if training:
            n_samples = len(batch[1])
            self._replay.write_noise(next(self._noises), self._layers, n_samples, self._dtype)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        if self.n_begun == len(self._numbers):
            raise KeyboardInterrupt  # how skorch's callbacks end a training


def _net_error(method: str, error: Exception) -> NotFusibleError:
    message = " ".join(str(error).split())[:200]
    return NotFusibleError(f"the net's own `{method}` raises {type(error).__name__}: {message}")
