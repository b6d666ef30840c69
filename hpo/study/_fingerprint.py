"""Fingerprint of a study: everything its scores depend on, described part by part."""

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
"""Version of the stored format; hpo 0.1.0 stored a hash for each part and no version."""

_MAX_LENGTH, _MAX_CODE_LENGTH = 30_000, 15_000
"""Maximal numbers of characters to store; some databases allow no more than 65,535."""


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

    Sampler, pruner, executor, budget and the held-out test part are not included: they do not
    change the score of a trial.

    Parameters
    ----------
    objective : Objective
        Estimator, data, folds and what is passed to ``fit`` and to the scorers.
    space : SearchSpace
    seed : int
    scoring : object
        The scoring as it was passed to the study.
    costs : sequence of str
        Further objectives of the sampler.
    select : {"best", "last"}
        Which step's score represents a trial.

    Returns
    -------
    dict
        ``format``, ``python``, ``parts`` (name to text, hash and inner parts), ``space`` (name to
        definition) and ``code`` (name of each object of the user's code in use, to its hash).
    """
    describer = Describer()
    parts = {
        "estimator": describer.describe(objective.estimator),
        "data": _data(describer, {"X": objective.X, "y": objective.y}),
        "fit parameters": _data(describer, objective.fit_params),
        "score parameters": _data(describer, objective.score_params),
        "folds": _folds(describer, objective.splits),
        "scoring": describer.describe(scoring),
        "metric": describer.describe(objective.scoring.metric),
        "training scores": describer.describe(objective.return_train_score),
        "epochs": describer.describe(objective.epochs),
        "eval_every": describer.describe(objective.eval_every),
        "costs": describer.describe(list(costs)),
        "select": describer.describe(select),
        "seed": describer.describe(seed),
    }
    return {
        "format": FORMAT,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "parts": _to_json(parts),
        "space": {name: _parameter_form(describer, space, name) for name in space},
        "code": _merge_code(describer.code),
    }


def _to_json(parts: Mapping[str, Description]) -> dict[str, Any]:
    """Return descriptions as plain data, as deep as the maximal length allows."""
    for depth in range(6, 0, -1):
        data = {name: part.to_json(depth) for name, part in parts.items()}
        if len(json.dumps(data)) < _MAX_LENGTH:
            return data
    return {name: part.to_json(0) for name, part in parts.items()}


def _merge_code(code: Mapping[str, str]) -> dict[str, str]:
    """Return the hashes of code by name; one for each class if there would be too many."""
    hashes = dict(code)
    for part in (lambda name: name.partition(".")[0], lambda name: "the code"):
        if len(json.dumps(hashes)) < _MAX_CODE_LENGTH:
            break
        marks: dict[str, list[str]] = {}
        for name, mark in hashes.items():
            marks.setdefault(part(name), []).append(f"{name} {mark}")
        hashes = {name: mark_of("code", *marks_of_part) for name, marks_of_part in marks.items()}
    return hashes


def _data(describer: Describer, values: Mapping[str, Any]) -> Description:
    with describer.with_state():
        parts = {name: describer.describe(values[name]) for name in sorted(values)}
    mark = mark_of("data", *parts, of=[part.mark for part in parts.values()])
    return Description(f"{', '.join(parts) or 'none'}", mark, parts)


def _folds(describer: Describer, splits: Sequence[Any]) -> Description:
    rows = [np.asarray(rows) for pair in splits for rows in pair]
    return Description(f"division into {len(splits)} folds", describer.describe(rows).mark)


def _parameter_form(describer: Describer, space: SearchSpace, name: str) -> dict[str, Any]:
    """Return the definition of a parameter; in a list of spaces, its definition in each."""
    forms = [_form(describer, p.parameters[name]) if name in p else None for p in space.parts]
    if len(forms) == 1 and forms[0] is not None:
        return forms[0]
    choices = {repr(pair): pair for form in forms if form for pair in form.get("choices", ())}
    return {"type": "list", "forms": forms, "choices": list(choices.values()), "when": {}}


def _form(describer: Describer, parameter: Parameter) -> dict[str, Any]:
    """Return the definition of a parameter; choices as their labels and the hashes of objects."""
    d: Any = parameter.distribution
    form: dict[str, Any] = {"type": type(d).__name__.removesuffix("Distribution").lower()}
    if parameter.choices:
        form["choices"] = [_choice(describer, choice) for choice in parameter.choices]
    elif parameter.quantiles is not None:
        form["distribution"] = parameter.quantiles.text
    else:
        form |= {"low": d.low, "high": d.high, "log": d.log, "step": d.step}
    form["when"] = {parent: sorted(v, key=repr) for parent, v in sorted(parameter.when.items())}
    return form


def _choice(describer: Describer, choice: Any) -> list[Any]:
    if choice.kind == "plain":
        return [choice.stored, None]
    return [choice.stored, describer.describe(choice.value).mark]


def summary(stored: Mapping[str, Any]) -> str:
    """Return one hash of a whole fingerprint."""
    marks = {name: part[1] for name, part in stored["parts"].items()}
    content = json.dumps([marks, stored["space"], stored["code"]], sort_keys=True)
    return mark_of("study", content)


def mark_of_data(*values: Any) -> str:
    """Return one hash of the data that a winner is refitted on and scored with."""
    descriptions = [Describer().describe(value) for value in values]
    return mark_of("refit", of=[part.mark for part in descriptions])
