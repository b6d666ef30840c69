"""Private parts of skorch's nets, with public alternatives for versions that lack them."""

from collections.abc import Callable
from typing import Any

from hpo._private_parts import note_missing

__all__ = ["parts_of", "predict_nonlinearity", "set_training", "step", "zero_grad"]

_LIMITATION = "only the net's own module, criterion and optimizer are seen, none that were added"


def parts_of(net: Any, kind: str) -> list[str] | None:
    """Return the names of a net's modules, criteria or optimizers; None if skorch has no list.

    Parameters
    ----------
    net : skorch.NeuralNet
    kind : {"modules", "criteria", "optimizers"}
    """
    tables = {"modules": "_modules", "criteria": "_criteria", "optimizers": "_optimizers"}
    names = getattr(net, tables[kind], None)
    return None if names is None else list(names)


def set_training(net: Any, training: bool) -> None:
    """Set a net's modules and criteria to training or to evaluation."""
    if hasattr(net, "_set_training"):
        net._set_training(training)
        return
    note_missing("skorch", "NeuralNet._set_training", _LIMITATION)
    net.module_.train(training)
    if hasattr(net.criterion_, "train"):
        net.criterion_.train(training)


def zero_grad(net: Any) -> None:
    """Reset the gradients of a net's optimizers."""
    if hasattr(net, "_zero_grad_optimizer"):
        net._zero_grad_optimizer()
        return
    note_missing("skorch", "NeuralNet._zero_grad_optimizer", _LIMITATION)
    net.optimizer_.zero_grad()


def step(net: Any) -> None:
    """Perform one step of a net's optimizers."""
    if hasattr(net, "_step_optimizer"):
        net._step_optimizer(None)
        return
    note_missing("skorch", "NeuralNet._step_optimizer", _LIMITATION)
    net.optimizer_.step()


def predict_nonlinearity(net: Any, instead: str) -> Callable[[Any], Any] | None:
    """Return the function from module outputs to predictions; None, with a note, if unknown.

    Parameters
    ----------
    net : skorch.NeuralNet
        Initialized.
    instead : str
        What is done if it is unknown.
    """
    if hasattr(net, "_get_predict_nonlinearity"):
        nonlinearity: Callable[[Any], Any] = net._get_predict_nonlinearity()
        return nonlinearity
    note_missing("skorch", "NeuralNet._get_predict_nonlinearity", instead)
    return None
