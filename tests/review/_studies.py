"""Results of studies with known curves, for the tests of what is made of them."""

import math
import random

import numpy as np

from hpo.result import StudyResult
from hpo.space import SearchSpace
from hpo.trial import Report, Trial, TrialRecord, TrialState

SGD = "torch.optim.SGD"
SPACE = SearchSpace.load(
    {
        "lr": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
        "max_depth": {"type": "int", "low": 1, "high": 64},
        "width": {"type": "int", "low": 1, "high": 300, "log": True},
        "optimizer": [SGD, "torch.optim.Adam"],
        "momentum": {"type": "float", "low": 0, "high": 0.9, "when": {"optimizer": SGD}},
        "noise": {"type": "float", "low": 0.0, "high": 1.0},
    }
)


def sampled(space, n_trials, score, *, n_steps=4, seed=0, pruned_every=3, **fields):
    """Return a study of random points; ``score(params)`` is what a trial reaches at its end."""
    draw = random.Random(seed)
    records = []
    for number in range(n_trials):
        params = space.read(space.sample(lambda _, d: _value(d, draw)))
        pruned = pruned_every and number % pruned_every == pruned_every - 1 and n_steps > 1
        n_made = 2 if pruned else n_steps
        reports = tuple(
            Report(number, step, value, (value - 0.01, value + 0.01), {}, 0.5, time=100.0 + step)
            for step in range(1, n_made + 1)
            if math.isfinite(value := score(params) - 0.5 / step + 0.5 / n_steps)
        )
        records.append(
            TrialRecord(
                Trial(number, params, 0),
                TrialState.PRUNED if pruned else TrialState.COMPLETE,
                reports,
                "epoch 2: below the median" if pruned else "",
                max_steps=n_steps,
                started=100.0 + number,
                ended=102.0 + number,
            )
        )
    given = {"name": "sampled", "scoring": "accuracy", "space": space, **fields}
    return StudyResult(records=tuple(records), **given)


def _value(distribution, draw):
    if hasattr(distribution, "choices"):
        return draw.choice(distribution.choices)
    low, high = distribution.low, distribution.high
    value = low * (high / low) ** draw.random() if distribution.log else draw.uniform(low, high)
    if type(distribution).__name__ == "IntDistribution":
        return int(np.clip(round(value), low, high))
    return value


def by_lr(params):
    """Return a score that depends on lr alone, and is best at 0.01."""
    return 0.9 - 0.1 * abs(math.log10(params["lr"]) + 2)
