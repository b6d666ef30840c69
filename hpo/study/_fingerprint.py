"""What makes two runs the same study: what its scores depend on, described part by part."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hpo.identity import Describer, Description, mark_of
from hpo.space import SearchSpace
from hpo.space.parameter import Parameter
from hpo.training.objective import Objective

__all__ = ["FORMAT", "fingerprint", "mark_of_data", "summary"]

FORMAT = 2
"""Of what is kept; 0.1.0 kept a hash a part and no format."""

_LONGEST, _LONGEST_CODE = 30_000, 15_000
"""Characters that are kept; a database may have no place for more than 65,535."""


def fingerprint(
    objective: Objective,
    space: SearchSpace,
    seed: int,
    scoring: Any,
    *,
    costs: Sequence[str] = (),
    select: str = "best",
) -> dict[str, Any]:
    """Return what a study's scores depend on, as plain data.

    Sampler, pruner, executor, budget and the held-out test part are no part of it: they change no
    score of a trial.

    Parameters
    ----------
    objective : Objective
        Estimator, data, folds and what is passed to ``fit`` and to the scorers.
    space : SearchSpace
    seed : int
    scoring : object
        As the study was given it.
    costs : sequence of str
        What else the sampler looks at.
    select : {"best", "last"}
        Which step's score stands for a trial.

    Returns
    -------
    dict
        ``format``, ``python``, ``parts`` (name to text, mark and parts of its own), ``space``
        (name to its form) and ``code`` (what of the user's own code is reached, to its mark).
    """
    of = Describer()
    parts = {
        "estimator": of.describe(objective.estimator),
        "data": _data(of, {"X": objective.X, "y": objective.y}),
        "fit parameters": _data(of, objective.fit_params),
        "score parameters": _data(of, objective.score_params),
        "folds": _folds(of, objective.splits),
        "scoring": of.describe(scoring),
        "metric": of.describe(objective.scoring.metric),
        "training scores": of.describe(objective.return_train_score),
        "epochs": of.describe(objective.epochs),
        "eval_every": of.describe(objective.eval_every),
        "costs": of.describe(list(costs)),
        "select": of.describe(select),
        "seed": of.describe(seed),
    }
    return {
        "format": FORMAT,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "parts": _kept(parts),
        "space": {name: _form(of, space, name) for name in space},
        "code": _kept_code(of.code),
    }


def _kept(parts: Mapping[str, Description]) -> dict[str, Any]:
    """Return descriptions as plain data, as deep as there is place for."""
    for depth in range(6, 0, -1):
        kept = {name: part.to_json(depth) for name, part in parts.items()}
        if len(json.dumps(kept)) < _LONGEST:
            return kept
    return {name: part.to_json(0) for name, part in parts.items()}


def _kept_code(code: Mapping[str, str]) -> dict[str, str]:
    """Return the marks of code by name; those of one class together, where there are too many."""
    kept = dict(code)
    for part in (lambda name: name.partition(".")[0], lambda name: "the code"):
        if len(json.dumps(kept)) < _LONGEST_CODE:
            break
        marks: dict[str, list[str]] = {}
        for name, mark in kept.items():
            marks.setdefault(part(name), []).append(f"{name} {mark}")
        kept = {name: mark_of("code", *found) for name, found in marks.items()}
    return kept


def _data(of: Describer, values: Mapping[str, Any]) -> Description:
    with of.with_state():
        parts = {name: of.describe(values[name]) for name in sorted(values)}
    mark = mark_of("data", *parts, of=[part.mark for part in parts.values()])
    return Description(f"{', '.join(parts) or 'none'}", mark, parts)


def _folds(of: Describer, splits: Sequence[Any]) -> Description:
    rows = [np.asarray(rows) for pair in splits for rows in pair]
    return Description(f"division into {len(splits)} folds", of.describe(rows).mark)


def _form(of: Describer, space: SearchSpace, name: str) -> dict[str, Any]:
    """Return what a parameter may be, in a list of spaces with what it may be in each."""
    forms = [_form_of(of, p.parameters[name]) if name in p else None for p in space.parts]
    if len(forms) == 1 and forms[0] is not None:
        return forms[0]
    choices = {repr(pair): pair for form in forms if form for pair in form.get("choices", ())}
    return {"type": "list", "forms": forms, "choices": list(choices.values()), "when": {}}


def _form_of(of: Describer, parameter: Parameter) -> dict[str, Any]:
    """Return what a parameter may be; of a choice its label and, of an object, its mark."""
    d: Any = parameter.distribution
    form: dict[str, Any] = {"type": type(d).__name__.removesuffix("Distribution").lower()}
    if parameter.choices:
        form["choices"] = [_choice(of, choice) for choice in parameter.choices]
    elif parameter.quantiles is not None:
        form["distribution"] = parameter.quantiles.text
    else:
        form |= {"low": d.low, "high": d.high, "log": d.log, "step": d.step}
    form["when"] = {parent: sorted(v, key=repr) for parent, v in sorted(parameter.when.items())}
    return form


def _choice(of: Describer, choice: Any) -> list[Any]:
    if choice.kind == "plain":
        return [choice.stored, None]
    return [choice.stored, of.describe(choice.value).mark]


def summary(kept: Mapping[str, Any]) -> str:
    """Return one mark of everything in a fingerprint."""
    marks = {name: part[1] for name, part in kept["parts"].items()}
    content = json.dumps([marks, kept["space"], kept["code"]], sort_keys=True)
    return mark_of("study", content)


def mark_of_data(*values: Any) -> str:
    """Return one mark of what a winner is refitted on and scored by."""
    found = [Describer().describe(value) for value in values]
    return mark_of("refit", of=[part.mark for part in found])
