"""The search space: names, distributions and conditions, checked before anything starts."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from optuna.distributions import BaseDistribution

from hpo.exceptions import SpaceError
from hpo.space._check import check_names
from hpo.space._grid import grid_of, grid_values, number_of_points
from hpo.space._grids import GRID, join_spaces, read_list
from hpo.space._parse import parse
from hpo.space._points import read_points
from hpo.space._stored import params_of, resolved_params, stored_params
from hpo.space._written import as_yaml, content, describe_parameter
from hpo.space._yaml import Document, parse_text, read_text
from hpo.space.choices import Stored, same
from hpo.space.parameter import Parameter

__all__ = ["SearchSpace"]


class SearchSpace:
    """Which parameters are searched, over which values, and under which conditions.

    Created by `load` or `loads`; immutable and picklable. Names are the estimator's own
    parameter names (``lr``, ``optimizer__weight_decay``, a Pipeline's ``net__lr``), and a
    parameter is written in a short form that follows Optuna::

        lr: {type: float, low: 1e-4, high: 0.1, log: true}
        batch_size: {type: categorical, choices: [32, 64, 128]}
        optimizer: {type: categorical, choices: [torch.optim.SGD, torch.optim.Adam]}
        optimizer__momentum: {type: float, low: 0, high: 0.99, when: {optimizer: torch.optim.SGD}}

    ``type`` is float, int or categorical. A number has ``low`` and ``high``, both
    included, and ``log`` (default false) or ``step``; where ``step`` does not divide the range, the
    last value that it reaches becomes ``high``. A categorical parameter has ``choices``;
    a bare list is short for that, and so is an array in one dimension; a ``range`` is an int.
    ``when`` maps a categorical or int parent to the values
    under which the parameter exists; several parents must all agree.

    A choice that is text such as ``torch.optim.Adam``, whose first part can be imported,
    stands for the object of that name. In a mapping, a choice may be any object: a class
    or function is stored as its dotted path, other objects as a text label.

    ``default`` is a value to try first; see `defaults`.

    A distribution of scipy.stats is short for the same range where there is one (uniform,
    loguniform, randint). Any other one (``expon(scale=10)``, in a file
    ``{type: float, distribution: expon(scale=10)}``) is searched between its quantiles 0.001 and
    0.999: the storage keeps the quantile, which is evenly spread, and trials have the value.

    A list of such mappings, like the one that `sklearn.model_selection.ParameterGrid` takes, is
    several spaces as one: a trial has the parameters of one of them. An empty mapping is a space
    of one point, the estimator as it is.

    Two spaces are equal if names, distributions and conditions are, in whatever order.
    """

    __slots__ = ("_branches", "_by_name", "_parameters", "_source")
    _branches: tuple["SearchSpace", ...]
    _by_name: Mapping[str, list[Parameter]]
    _parameters: Mapping[str, Parameter]
    _source: str

    def __init__(
        self,
        parameters: tuple[Parameter, ...],
        source: str,
        branches: tuple["SearchSpace", ...] = (),
    ) -> None:
        object.__setattr__(self, "_parameters", {p.name: p for p in parameters})
        object.__setattr__(self, "_source", source)
        object.__setattr__(self, "_branches", branches)
        by_name: dict[str, list[Parameter]] = {}
        for parameter in parameters:
            if not (branches and parameter.name == GRID):
                by_name.setdefault(parameter.estimator_name, []).append(parameter)
        object.__setattr__(self, "_by_name", by_name)

    @classmethod
    def load(
        cls,
        source: "SearchSpace | Mapping[str, Any] | Sequence[Mapping[str, Any]] | str | Path",
        estimator: Any = None,
    ) -> "SearchSpace":
        """Return the space that ``source`` defines.

        Parameters
        ----------
        source : SearchSpace, mapping, list of mappings, str or Path
            A space is returned as it is. A mapping goes from names to the short form, lists of
            choices, arrays, ranges, or distributions of scipy.stats or Optuna. A list holds
            several mappings, to one of which a trial belongs. Text or a Path is the path of a
            YAML 1.2 file.
        estimator : object, optional
            The names are checked against its parameters (`check`), so that all mistakes of a
            space are told at once. A class, or another object without parameters, is ignored.

        Raises
        ------
        SpaceError
            With one message for each mistake.
        """
        if isinstance(source, SearchSpace):
            return source
        if isinstance(source, Mapping):
            return cls(parse(Document(source), "mapping", estimator), "mapping")
        if isinstance(source, str | Path):
            return cls.loads(read_text(source), str(source), estimator)
        if isinstance(source, list | tuple):
            return cls._of([Document(part) for part in source], "grids", estimator)
        raise SpaceError(
            [
                "A search space is a path, a mapping, a list of mappings or a SearchSpace. "
                f"Got {source!r} instead."
            ]
        )

    @classmethod
    def loads(cls, text: str, source: str = "text", estimator: Any = None) -> "SearchSpace":
        """Return the space that the YAML ``text`` defines; ``source`` names it in messages.

        ``estimator`` is that of `load`.

        Raises
        ------
        SpaceError
            With one message for each mistake.
        """
        document = parse_text(text, source)
        if isinstance(document, list):
            return cls._of(document, source, estimator)
        return cls(parse(document, source, estimator), source)

    @classmethod
    def from_storage(cls, text: str, source: str) -> "SearchSpace":
        """Return the space that a storage has kept as ``text``; no class in it is imported.

        Parameters
        ----------
        text : str
            What `dumps` returned of a space, which had been checked.
        source : str
            Names the space in messages.

        Raises
        ------
        SpaceError
            If the text is no space.
        """
        document = parse_text(text, source)
        if isinstance(document, list):
            return cls._of([replace(part, checked=True) for part in document], source)
        return cls(parse(replace(document, checked=True), source), source)

    @classmethod
    def _of(
        cls, documents: Sequence[Document], source: str, estimator: Any = None
    ) -> "SearchSpace":
        parsed = read_list(documents, source, estimator)
        if len(parsed) == 1:
            return cls(parsed[0], source)
        branches = tuple(cls(part, f"{source}[{i}]") for i, part in enumerate(parsed))
        return cls(join_spaces(parsed), source, branches)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters: parents before children, otherwise in the order given."""
        return tuple(self._by_name)

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The checked parameters by name, in the order of `names`."""
        return MappingProxyType(self._parameters)

    @property
    def distributions(self) -> Mapping[str, BaseDistribution]:
        """Distribution of each parameter, under its stored name and over its stored values."""
        return MappingProxyType({name: p.distribution for name, p in self._parameters.items()})

    @property
    def parts(self) -> tuple["SearchSpace", ...]:
        """The spaces of a list, of which a trial belongs to one; else the space itself."""
        return self._branches or (self,)

    def keeps_values_of(self, name: str) -> bool:
        """Return whether the storage holds the values of parameter ``name`` under that name.

        It does not if it stores quantiles instead, or if a list of spaces defines the
        parameter in several ways.
        """
        parameter = self._parameters.get(name)
        return parameter is not None and parameter.quantiles is None

    @property
    def translates(self) -> bool:
        """Whether what the storage keeps differs from the params of the trials."""
        return bool(self._branches) or not all(map(self.keeps_values_of, self._parameters))

    def values(self, name: str) -> Sequence[Any] | None:
        """Return every value of parameter ``name`` in order; None if it is continuous."""
        merged: dict[str, Any] = {}
        for parameter in self._by_name[name]:
            values = grid_values(parameter.distribution) if parameter.quantiles is None else None
            if values is None:
                return None
            if len(self._by_name[name]) == 1:
                return values
            merged |= {repr(value): value for value in values}
        return tuple(merged.values())

    @property
    def defaults(self) -> tuple[dict[str, Any], ...]:
        """The points to try first: those values that definitions give as ``default``.

        There is one for each part that has any, of some or all of its parameters. A parameter
        that does not exist under the others' defaults is left out.
        """
        points = []
        for part in self.parts:
            point: dict[str, Any] = {}
            for name, parameter in part._parameters.items():
                if parameter.default and part.is_active(name, point):
                    point[name] = parameter.default[0]
            points += [point] if point else []
        return tuple(points)

    @property
    def conditions(self) -> Mapping[str, Mapping[str, tuple[Stored, ...]]]:
        """Parents of each conditional parameter, with the stored values under which it exists."""
        return MappingProxyType(
            {n: MappingProxyType(dict(p.when)) for n, p in self._parameters.items() if p.when}
        )

    @property
    def source(self) -> str:
        """Where the space came from: the path as given, or "mapping"."""
        return self._source

    @property
    def fingerprint(self) -> str:
        """A hash that is equal for equal spaces, in every process and on every machine."""
        data: Any = {name: content(p) for name, p in self._parameters.items()}
        if self._branches:
            data = [part.fingerprint for part in self._branches]
        text = json.dumps(data, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def is_active(self, name: str, params: Mapping[str, Any]) -> bool:
        """Return whether parameter ``name`` exists, given the stored values ``params``."""
        return all(
            parent in params
            and self.is_active(parent, params)
            and any(same(params[parent], value) for value in allowed)
            for parent, allowed in self._parameters[name].when.items()
        )

    def sample(self, suggest: Callable[[str, BaseDistribution], Any]) -> dict[str, Any]:
        """Return the stored values of a new trial, each obtained from ``suggest``.

        ``suggest(name, distribution)`` is called in the order of `distributions`, and only for
        parameters whose conditions hold. `read` converts the result to the trial's params.
        """
        params: dict[str, Any] = {}
        for name, parameter in self._parameters.items():
            if self.is_active(name, params):
                params[name] = suggest(name, parameter.distribution)
        return params

    def read(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return a trial's params from its stored values."""
        return params_of(stored, self._parameters)

    def keep(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the stored values for a trial's ``params``, all of them or a part.

        Raises
        ------
        SpaceError
            If no trial of the space can have them.
        """
        stored = stored_params(params, self._parameters, self.is_active)
        if stored is None:
            raise SpaceError([f"{self._source}: {dict(params)!r} is no point of the space."])
        return stored

    def points(self, points: Sequence[Any], source: str) -> tuple[dict[str, Any], ...]:
        """Return complete or partial points in the form of trial params.

        Parameters
        ----------
        points : sequence of mapping
            Names to values as the estimator takes them or as they are stored: a class or its
            dotted path, numbers of Python or NumPy.
        source : str
            Names the points in messages.

        Raises
        ------
        SpaceError
            With one message for each mistake: an unknown name, a value that the parameter cannot
            have, a parameter that does not exist given the others.
        """
        return read_points(points, [(p._parameters, p.is_active) for p in self.parts], source)

    def resolve(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the estimator's ``set_params`` takes for the ``params`` of a trial.

        A dotted path becomes the object that it names, a label the original object; set a
        clone of it on an estimator, as scikit-learn's searches do. Names are sorted, as in
        `sklearn.model_selection.ParameterGrid`.

        Raises
        ------
        SpaceError
            If a name is not in the space, or a value is not one of a parameter's choices.
        """
        problems, resolved = resolved_params(params, self._by_name)
        if problems:
            raise SpaceError([f"{self._source}: {problem}" for problem in problems])
        return dict(sorted(resolved.items()))

    def grid(self) -> list[dict[str, Any]]:
        """Return the params of every combination, in the order of scikit-learn's grids.

        Names are sorted and the last one varies fastest, as in
        `sklearn.model_selection.ParameterGrid`; parameters that do not exist under a
        combination are left out, and no combination comes twice.

        Raises
        ------
        SpaceError
            If parameters are continuous, or there are more than a million combinations.
        """
        if not self._branches:
            return grid_of(self._parameters, self.is_active, self._source)
        everything = [params for part in self._branches for params in part.grid()]
        return list({repr(sorted(params.items())): params for params in everything}.values())

    @property
    def is_finite(self) -> bool:
        """Whether the space has a finite number of points."""
        return all(number_of_points(part._parameters) is not None for part in self.parts)

    def size(self, most: int) -> int | None:
        """Return the number of points; None if the space is continuous or has more than ``most``.

        With conditions the number can be smaller than the product of the numbers of values; the
        result is None whenever that product exceeds ``most``.
        """
        n_points = [number_of_points(part._parameters) for part in self.parts]
        bounds = [n for n in n_points if n is not None]
        if len(bounds) < len(n_points) or sum(bounds) > most:
            return None
        return len(self.grid())

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
        problems = [
            problem
            for part in self.parts
            for problem in check_names(part._parameters, estimator, part._source)
        ]
        if problems:
            raise SpaceError(problems)

    def to_yaml(self) -> str:
        """Return the space as YAML; loading it gives an equal space.

        A choice that only a mapping can hold, such as an estimator, is written as its label,
        which is what is stored, and comes back as text.
        """
        if not self._branches:
            return as_yaml(tuple(self._parameters.values()))
        parts = [part.to_yaml().rstrip().replace("\n", "\n  ") for part in self._branches]
        return "".join(f"- {part}\n" for part in parts)

    def definitions(self, name: str) -> tuple[Parameter, ...]:
        """Return every definition of parameter ``name``: several ones only in a list of spaces."""
        return tuple(self._by_name.get(name, ()))

    def describe(self, name: str) -> str:
        """Return a one-line description of a parameter, such as "float 1e-05 .. 0.1, log"."""
        parts = [part for part in self.parts if name in part]
        lines = dict.fromkeys(describe_parameter(part._parameters[name]) for part in parts)
        return "; or ".join(lines)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SearchSpace):
            return NotImplemented
        return self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"SearchSpace({self._source!r}: {', '.join(self)})"

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"A SearchSpace is immutable: cannot set '{name}'.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"A SearchSpace is immutable: cannot delete '{name}'.")

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        return type(self), (tuple(self._parameters.values()), self._source, self._branches)
