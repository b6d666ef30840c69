"""Find, copy and replace the nets of an estimator and the callbacks of a net."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sklearn.base import clone
from skorch import NeuralNet
from skorch.callbacks import PrintLog

from hpo.training._summaries import cloneable, is_summary_writer

__all__ = [
    "Entry",
    "callbacks_in",
    "copy_of",
    "entries",
    "is_callback",
    "nets_of",
    "params_of",
    "portable",
]


def nets_of(estimator: Any) -> list[NeuralNet]:
    """Return all nets of an estimator: itself, steps of a Pipeline, teachers ..."""
    return list({id(net): net for net in _named_nets(estimator).values()}.values())


def _named_nets(estimator: Any) -> dict[str, NeuralNet]:
    if isinstance(estimator, NeuralNet):
        nets = {"": estimator}
        # Not `get_params(deep=True)`, which also asks all callbacks for their parameters.
        parts = {name: v for name, v in vars(estimator).items() if _is_estimator(v)}
    elif _is_estimator(estimator):
        nets, parts = {}, estimator.get_params(deep=True)
    else:
        return {}
    for name, part in parts.items():
        if part is not estimator and isinstance(part, NeuralNet):
            nets |= {f"{name}__{inner}": net for inner, net in _named_nets(part).items()}
    return nets


def _is_estimator(value: Any) -> bool:
    has_interface = hasattr(value, "get_params") and hasattr(value, "fit")
    return has_interface and not isinstance(value, type)


def is_callback(value: Any) -> bool:
    """Return whether ``value`` is a callback of a net, and not a class."""
    return hasattr(value, "on_train_begin") and not isinstance(value, type | NeuralNet)


def params_of(callback: Any) -> dict[str, Any]:
    """Return the parameters of a callback: its attributes without a trailing underscore."""
    if hasattr(callback, "get_params"):
        return dict(callback.get_params(deep=False))
    return {name: value for name, value in vars(callback).items() if not name.endswith("_")}


def callbacks_in(value: Any) -> Iterator[Any]:
    """Yield the callbacks in a parameter of a callback."""
    if is_callback(value):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from callbacks_in(item)


@dataclass
class Entry:
    """A callback of a net that has not been initialized yet.

    Parameters
    ----------
    net : NeuralNet
    name : str
        Name of the callback in the net.
    callback : callback
        Always an instance, even if the net was given a class.
    settings : mapping
        Parameters that the net will set: its ``callbacks__<name>__<parameter>``.
    """

    net: NeuralNet
    name: str
    callback: Any
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def params(self) -> dict[str, Any]:
        """The parameters that the callback will have."""
        return {**params_of(self.callback), **self.settings}

    @property
    def description(self) -> str:
        """The callback as messages name it."""
        return f"the callback '{self.name}' ({type(self.callback).__name__})"

    def replace(self, callback: Any, changes: Mapping[str, Any]) -> None:
        """Replace the callback in the net, and apply ``changes`` to its settings."""
        for name in self.settings.keys() & changes.keys():
            vars(self.net)[f"callbacks__{self.name}__{name}"] = changes[name]
        items = self.net.callbacks if isinstance(self.net.callbacks, list) else []
        for i, item in enumerate(items):
            named = isinstance(item, list | tuple)
            if (item[1] if named else item) is self.callback:
                items[i] = (item[0], callback) if named else callback
                return
        # A default of the net, or a class: skorch uses a callback of this name instead.
        vars(self.net)[f"callbacks__{self.name}"] = callback


def entries(net: NeuralNet) -> Iterator[Entry]:
    """Yield the callbacks that ``net`` will be initialized with, including its defaults."""
    if net.callbacks == "disable":
        return
    overrides = {name: value for name, value in vars(net).items() if name.startswith("callbacks__")}
    for name, default in _named(net):
        callback = overrides.get(f"callbacks__{name}", default)
        settings = net.get_params_for(f"callbacks__{name}") if overrides else {}
        if callback is None:
            continue
        if isinstance(callback, type):
            callback = callback(**settings)
        yield Entry(net, name, callback, settings)


def _named(net: NeuralNet) -> Iterator[tuple[str, Any]]:
    """Yield names and callbacks, named as in skorch's ``initialize_callbacks``.

    The defaults come first and those that print last. Callbacks of the same name are numbered.
    """
    callbacks_by_name = [
        item if isinstance(item, list | tuple) else (_class_of(item).__name__, item)
        for item in [*net.get_default_callbacks(), *(net.callbacks or [])]
    ]
    callbacks_by_name.sort(key=lambda item: isinstance(item[1], PrintLog) or item[1] is PrintLog)
    groups: dict[str, list[Any]] = {}
    for name, callback in callbacks_by_name:
        groups.setdefault(name, []).append(callback)
    for name, callbacks in groups.items():
        for number, callback in enumerate(callbacks, start=1):
            yield (name if len(callbacks) == 1 else f"{name}_{number}"), callback


def _class_of(callback: Any) -> type:
    return callback if isinstance(callback, type) else type(callback)


def copy_of(estimator: Any) -> Any:
    """Return an unfitted clone of an estimator, or a copy of another object.

    Unlike `sklearn.base.clone`, it preserves references between callbacks: the copy of a
    ``LoadInitState`` refers to the copy of its ``Checkpoint``. TensorBoard's writers are copied,
    too.
    """
    nets = _named_nets(estimator)
    with cloneable(_summary_writers(nets.values())):
        copied = clone(estimator, safe=False)
    _share(list(callbacks_in(estimator)), list(callbacks_in(copied)))
    sharing = [name for name, net in nets.items() if any(map(_has_callbacks, entries(net)))]
    copies = _named_nets(copied) if sharing else {}
    for name in sharing:
        pair = (nets[name], copies[name])
        _share(*([entry.callback for entry in entries(net)] for net in pair))
    return copied


def portable(estimator: Any) -> Any:
    """Return an estimator that can be sent to other processes.

    This is the estimator itself, or a copy if its callbacks have TensorBoard writers as parameters.
    """
    return copy_of(estimator) if _summary_writers(nets_of(estimator)) else estimator


def _has_callbacks(entry: Entry) -> bool:
    return any(True for value in entry.params.values() for _ in callbacks_in(value))


def _summary_writers(nets: Iterable[NeuralNet]) -> list[Any]:
    writers: dict[int, Any] = {}
    for net in nets:
        for entry in entries(net):
            for value in entry.params.values():
                if is_summary_writer(value):
                    writers[id(value)] = value
    return list(writers.values())


def _share(callbacks: Sequence[Any], copies: Sequence[Any]) -> None:
    """Let copied callbacks refer to each other where the originals do."""
    pairs = list(zip(callbacks, copies, strict=True))
    twins = {id(callback): twin for callback, twin in pairs}
    for callback, twin in pairs:
        for name, value in params_of(callback).items():
            if id(value) in twins:
                setattr(twin, name, twins[id(value)])
