"""The search space: names, distributions and conditions, checked before anything starts."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpo.exceptions import SpaceError
from hpo.space._check import check_names
from hpo.space._choices import Stored, same
from hpo.space._grid import grid_of
from hpo.space._parameter import Parameter
from hpo.space._parse import parse
from hpo.space._yaml import Document, parse_text, read_text, write_value

__all__ = ["SearchSpace"]


class SearchSpace:
    """Which parameters are searched, over which values, and under which conditions.

    Built by `load` or `loads`; immutable and picklable. Names are the estimator's own
    parameter names (``lr``, ``optimizer__weight_decay``, a Pipeline's ``net__lr``), and a
    parameter is written in Optuna's short form::

        lr: {type: float, low: 1e-4, high: 0.1, log: true}
        batch_size: {type: categorical, choices: [32, 64, 128]}
        optimizer: {type: categorical, choices: [torch.optim.SGD, torch.optim.Adam]}
        optimizer__momentum: {type: float, low: 0, high: 0.99, when: {optimizer: torch.optim.SGD}}

    ``type`` is float, int or categorical. A number has ``low`` and ``high``, both
    included, and ``log`` (default false) or ``step``; where ``step`` does not divide the range, the
    last value that it reaches becomes ``high``. A categorical parameter has ``choices``;
    a bare list is short for that. ``when`` maps a categorical or int parent to the values
    under which the parameter exists; several parents must all agree.

    A choice that is text such as ``torch.optim.Adam``, whose first part can be imported,
    stands for the object of that name. In a mapping, a choice may be any object: a class
    or function is stored as its dotted path, other objects as a text label.

    Two spaces are equal if names, distributions and conditions are, in whatever order.
    """

    __slots__ = ("_parameters", "_source")
    _parameters: Mapping[str, Parameter]
    _source: str

    def __init__(self, parameters: tuple[Parameter, ...], source: str) -> None:
        object.__setattr__(self, "_parameters", {p.name: p for p in parameters})
        object.__setattr__(self, "_source", source)

    @classmethod
    def load(cls, source: "SearchSpace | Mapping[str, Any] | str | Path") -> "SearchSpace":
        """Return the space that ``source`` defines.

        Parameters
        ----------
        source : SearchSpace, mapping, str or Path
            A space is returned as it is. A mapping goes from names to the short form,
            optuna distributions or lists of choices. Text or a Path is the path of a
            YAML 1.2 file.

        Raises
        ------
        SpaceError
            With one message for each mistake.
        """
        if isinstance(source, SearchSpace):
            return source
        if isinstance(source, Mapping):
            return cls(parse(Document(source), "mapping"), "mapping")
        if isinstance(source, str | Path):
            return cls.loads(read_text(source), str(source))
        raise SpaceError(
            [f"A search space is a path, a mapping or a SearchSpace. Got {source!r} instead."]
        )

    @classmethod
    def loads(cls, text: str, source: str = "text") -> "SearchSpace":
        """Return the space that the YAML ``text`` defines; ``source`` names it in messages.

        Raises
        ------
        SpaceError
            With one message for each mistake.
        """
        return cls(parse(parse_text(text, source), source), source)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters: parents before children, otherwise in the order given."""
        return tuple(self._parameters)

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The checked parameters by name, in the order of `names`."""
        return MappingProxyType(self._parameters)

    @property
    def distributions(self) -> Mapping[str, BaseDistribution]:
        """Distribution of each parameter, over what a storage keeps."""
        return MappingProxyType({name: p.distribution for name, p in self._parameters.items()})

    @property
    def conditions(self) -> Mapping[str, Mapping[str, tuple[Stored, ...]]]:
        """Parents of each conditional parameter, with the stored values that allow it."""
        return MappingProxyType(
            {n: MappingProxyType(dict(p.when)) for n, p in self._parameters.items() if p.when}
        )

    @property
    def source(self) -> str:
        """Where the space came from: the path as given, or "mapping"."""
        return self._source

    @property
    def fingerprint(self) -> str:
        """A hash that equal spaces share, in every process and on every machine."""
        content = {name: _content(p) for name, p in self._parameters.items()}
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def is_active(self, name: str, params: Mapping[str, Any]) -> bool:
        """Return whether parameter ``name`` exists under the stored values ``params``."""
        return all(
            parent in params
            and self.is_active(parent, params)
            and any(same(params[parent], value) for value in allowed)
            for parent, allowed in self._parameters[name].when.items()
        )

    def sample(self, suggest: Callable[[str, BaseDistribution], Any]) -> dict[str, Any]:
        """Return stored values for the parameters that exist, each asked of ``suggest``.

        ``suggest(name, distribution)`` is called in the order of `names`, and only for
        parameters whose conditions the values so far fulfil.
        """
        params: dict[str, Any] = {}
        for name, parameter in self._parameters.items():
            if self.is_active(name, params):
                params[name] = suggest(name, parameter.distribution)
        return params

    def resolve(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the estimator's ``set_params`` takes for the stored values ``params``.

        A dotted path becomes the object that it names, a label the very object given; set
        it on an estimator as scikit-learn's searches do, as a clone.

        Raises
        ------
        SpaceError
            If a name is not in the space, or a value is none of a parameter's choices.
        """
        problems, resolved = [], {}
        for name, value in params.items():
            parameter = self._parameters.get(name)
            if parameter is None:
                problems.append(f"{self._source}: {name}: is not in the space.")
            elif not parameter.choices:
                resolved[name] = value
            else:
                choice = next((c for c in parameter.choices if same(c.stored, value)), None)
                if choice is None:
                    problems.append(f"{self._source}: {name}: {value!r} is none of its choices.")
                else:
                    resolved[name] = choice.value
        if problems:
            raise SpaceError(problems)
        return resolved

    def grid(self) -> list[dict[str, Any]]:
        """Return every combination of stored values, in the order of scikit-learn's grids.

        Names are sorted and the last one varies fastest, as in
        `sklearn.model_selection.ParameterGrid`; parameters that do not exist under a
        combination are left out, and no combination comes twice.

        Raises
        ------
        SpaceError
            If parameters are continuous, or there are more than a million combinations.
        """
        return grid_of(self._parameters, self.is_active, self._source)

    def check(self, estimator: Any) -> None:
        """Check that ``estimator`` has every parameter of the space.

        Follows ``__`` through Pipelines and other nested estimators, and into the modules,
        optimizers, criteria, iterators and callbacks of skorch nets. Where the space
        itself chooses an optimizer or a module, each choice under which a parameter exists
        must take it.

        Raises
        ------
        SpaceError
            With one message for each wrong name.
        """
        problems = check_names(self._parameters, estimator, self._source)
        if problems:
            raise SpaceError(problems)

    def to_yaml(self) -> str:
        """Return the space as YAML; loading it gives an equal space.

        A choice that only a mapping can hold, such as an estimator, is written as its label,
        which is what is stored, and comes back as text.
        """
        lines = (
            f"{write_value(name)}: {write_value(_short_form(parameter))}\n"
            for name, parameter in self._parameters.items()
        )
        return "".join(lines)

    def describe(self, name: str) -> str:
        """Return one line on parameter ``name``, such as "float 1e-05 .. 0.1, log"."""
        parameter = self._parameters[name]
        text = _describe(parameter.distribution)
        for parent, allowed in parameter.when.items():
            text += f", when {parent} is {' or '.join(map(str, allowed))}"
        return text

    def __contains__(self, name: object) -> bool:
        return name in self._parameters

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SearchSpace):
            return NotImplemented
        return self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"SearchSpace({self._source!r}: {', '.join(self._parameters)})"

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"A SearchSpace is immutable: cannot set '{name}'.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"A SearchSpace is immutable: cannot delete '{name}'.")

    def __reduce__(self) -> tuple[type[Self], tuple[tuple[Parameter, ...], str]]:
        return type(self), (tuple(self._parameters.values()), self._source)


def _short_form(parameter: Parameter) -> dict[str, Any]:
    """Return the short form of a parameter, as plain data."""
    d = parameter.distribution
    form: dict[str, Any] = {"type": _kind(d)}
    if isinstance(d, FloatDistribution | IntDistribution):
        form |= {"low": d.low, "high": d.high}
        if d.log:
            form["log"] = True
        if d.step is not None and (isinstance(d, FloatDistribution) or d.step != 1):
            form["step"] = d.step
    else:
        form["choices"] = [choice.written for choice in parameter.choices]
    if parameter.when:
        form["when"] = {parent: list(allowed) for parent, allowed in parameter.when.items()}
    return form


def _content(parameter: Parameter) -> list[Any]:
    """Return what makes two parameters equal, each value with its type (1 is not 1.0)."""
    d = parameter.distribution
    if isinstance(d, CategoricalDistribution):
        what = [repr(choice) for choice in d.choices]
    else:
        what = [repr(getattr(d, key)) for key in ("low", "high", "log", "step")]
    when = {parent: sorted(map(repr, allowed)) for parent, allowed in parameter.when.items()}
    return [_kind(d), what, when]


def _kind(distribution: BaseDistribution) -> str:
    return type(distribution).__name__.removesuffix("Distribution").lower()


def _describe(distribution: BaseDistribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return f"categorical: {', '.join(map(str, distribution.choices))}"
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        return repr(distribution)
    text = f"{_kind(distribution)} {distribution.low} .. {distribution.high}"
    if distribution.log:
        return f"{text}, log"
    return text if distribution.step in (None, 1) else f"{text}, step {distribution.step}"
