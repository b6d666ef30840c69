"""The nets of an estimator and the callbacks of a net: found, copied, and replaced in a copy."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sklearn.base import clone
from skorch import NeuralNet
from skorch.callbacks import PrintLog

from hpo.training._summaries import is_summary_writer, lending_copies

__all__ = ["Entry", "copy_of", "entries", "held", "is_callback", "nets_of", "params_of", "portable"]


def nets_of(estimator: Any) -> list[NeuralNet]:
    """Return the nets that an estimator is made of: itself, steps of a Pipeline, teachers ..."""
    return list({id(net): net for net in _named_nets(estimator).values()}.values())


def _named_nets(estimator: Any) -> dict[str, NeuralNet]:
    if isinstance(estimator, NeuralNet):
        found = {"": estimator}
        # Not what `get_params(deep=True)` looks at: it asks all callbacks for their parameters.
        parts = {name: v for name, v in vars(estimator).items() if _is_estimator(v)}
    elif _is_estimator(estimator):
        found, parts = {}, estimator.get_params(deep=True)
    else:
        return {}
    for name, part in parts.items():
        if part is not estimator and isinstance(part, NeuralNet):
            found |= {f"{name}__{own}": net for own, net in _named_nets(part).items()}
    return found


def _is_estimator(thing: Any) -> bool:
    known = hasattr(thing, "get_params") and hasattr(thing, "fit")
    return known and not isinstance(thing, type)


def is_callback(thing: Any) -> bool:
    """Return whether ``thing`` is a callback of a net, and no class of one."""
    return hasattr(thing, "on_train_begin") and not isinstance(thing, type | NeuralNet)


def params_of(callback: Any) -> dict[str, Any]:
    """Return the parameters of a callback: its attributes without a trailing underscore."""
    if hasattr(callback, "get_params"):
        return dict(callback.get_params(deep=False))
    return {name: value for name, value in vars(callback).items() if not name.endswith("_")}


def held(value: Any) -> Iterator[Any]:
    """Yield the callbacks that a parameter of a callback holds."""
    if is_callback(value):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from held(item)


@dataclass
class Entry:
    """A callback of a net that has not been initialized.

    Parameters
    ----------
    net : NeuralNet
    name : str
        By which the net knows it.
    callback : callback
        Made here where the net has a class.
    settings : mapping
        What the net will set on it: its parameters ``callbacks__<name>__<parameter>``.
    """

    net: NeuralNet
    name: str
    callback: Any
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def params(self) -> dict[str, Any]:
        """What the callback's parameters will be."""
        return {**params_of(self.callback), **self.settings}

    @property
    def told(self) -> str:
        """What messages call it."""
        return f"the callback '{self.name}' ({type(self.callback).__name__})"

    def replace(self, callback: Any, changes: Mapping[str, Any]) -> None:
        """Have the net take another callback, and ``changes`` in what it sets on it."""
        for name in self.settings.keys() & changes.keys():
            vars(self.net)[f"callbacks__{self.name}__{name}"] = changes[name]
        items = self.net.callbacks if isinstance(self.net.callbacks, list) else []
        for i, item in enumerate(items):
            named = isinstance(item, list | tuple)
            if (item[1] if named else item) is self.callback:
                items[i] = (item[0], callback) if named else callback
                return
        # One of the net's own defaults, or a class: skorch takes a callback of this name instead.
        vars(self.net)[f"callbacks__{self.name}"] = callback


def entries(net: NeuralNet) -> Iterator[Entry]:
    """Yield the callbacks that ``net`` will be initialized with, its own defaults too."""
    if net.callbacks == "disable":
        return
    own = {name: value for name, value in vars(net).items() if name.startswith("callbacks__")}
    for name, given in _named(net):
        callback = own.get(f"callbacks__{name}", given)
        settings = net.get_params_for(f"callbacks__{name}") if own else {}
        if callback is None:
            continue
        if isinstance(callback, type):
            callback = callback(**settings)
        yield Entry(net, name, callback, settings)


def _named(net: NeuralNet) -> Iterator[tuple[str, Any]]:
    """Yield callbacks as given, under the names that skorch's ``initialize_callbacks`` gives them.

    Its defaults first and those that print at last; of several of one name each has a number.
    """
    given = [
        item if isinstance(item, list | tuple) else (_class_of(item).__name__, item)
        for item in [*net.get_default_callbacks(), *(net.callbacks or [])]
    ]
    given.sort(key=lambda item: isinstance(item[1], PrintLog) or item[1] is PrintLog)
    groups: dict[str, list[Any]] = {}
    for name, callback in given:
        groups.setdefault(name, []).append(callback)
    for name, callbacks in groups.items():
        for number, callback in enumerate(callbacks, start=1):
            yield (name if len(callbacks) == 1 else f"{name}_{number}"), callback


def _class_of(callback: Any) -> type:
    return callback if isinstance(callback, type) else type(callback)


def copy_of(estimator: Any) -> Any:
    """Return an unfitted clone of an estimator, or a copy of another object.

    Beyond `sklearn.base.clone`: a callback that another one holds (the ``Checkpoint`` of a
    ``LoadInitState``) is held by the other one's copy too, and TensorBoard's writers are copied.
    """
    nets = _named_nets(estimator)
    with lending_copies(_summary_writers(nets.values())):
        copied = clone(estimator, safe=False)
    _share(list(held(estimator)), list(held(copied)))
    sharing = [name for name, net in nets.items() if any(map(_holds_some, entries(net)))]
    copies = _named_nets(copied) if sharing else {}
    for name in sharing:
        pair = (nets[name], copies[name])
        _share(*([entry.callback for entry in entries(net)] for net in pair))
    return copied


def portable(estimator: Any) -> Any:
    """Return an estimator that can be carried to other processes: itself as a rule.

    A copy of it where TensorBoard's writers are among the parameters of its callbacks.
    """
    return copy_of(estimator) if _summary_writers(nets_of(estimator)) else estimator


def _holds_some(entry: Entry) -> bool:
    return any(True for value in entry.params.values() for _ in held(value))


def _summary_writers(nets: Iterable[NeuralNet]) -> list[Any]:
    found: dict[int, Any] = {}
    for net in nets:
        for entry in entries(net):
            for value in entry.params.values():
                if is_summary_writer(value):
                    found[id(value)] = value
    return list(found.values())


def _share(callbacks: Sequence[Any], copies: Sequence[Any]) -> None:
    """Let copied callbacks hold each other where those that they are copies of do."""
    pairs = list(zip(callbacks, copies, strict=True))
    twins = {id(callback): twin for callback, twin in pairs}
    for callback, twin in pairs:
        for name, value in params_of(callback).items():
            if id(value) in twins:
                setattr(twin, name, twins[id(value)])
