"""What to do next: ranges that the best trials crowd against, parameters that did nothing.

Each piece of advice has its evidence, and the line of the search space to paste.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from hpo._format import number
from hpo.result import StudyResult
from hpo.review._axes import LOG_RANGE, Axis, axes_of
from hpo.review.importance import FEWEST_BEST, FEWEST_TRIALS, Importance, importances
from hpo.space import line_between, line_of_value
from hpo.trial import TrialRecord

__all__ = ["Advice", "advice"]

OUTER = 0.1
"""Share of a range at each of its ends."""
LEVEL = 0.001
"""Maximal probability of so many trials there if the best ones were spread evenly."""
LEVEL_TO_OTHERS = 0.05
"""The same if they were spread like all trials: a sampler has its favourite places."""
CROWDED = 0.5
"""Minimal share of the best trials there."""
FEWEST_FOR_NOTHING = 40
"""With fewer trials, a parameter of which no effect is seen may well have one."""
MOST_BY_CHANCE = 0.25
"""So may one whose importance chance alone may make greater than this."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do next.

    Parameters
    ----------
    name : str
        The parameter.
    what : str
        What to do, as a sentence.
    evidence : str
        The counts that speak for it, as a sentence.
    line : str
        The line of the search space to paste; empty if there is none.
    """

    name: str
    what: str
    evidence: str
    line: str = ""


def advice(result: StudyResult, found: Sequence[Importance] | None = None) -> list[Advice]:
    """Return what the trials of a study advise for the next search space.

    Parameters
    ----------
    result : StudyResult
        Without its space (another program's study) there is no advice.
    found : sequence of Importance, optional
        What `importances` returns for it, if that is known.

    Returns
    -------
    list of Advice
        First the ranges to widen, in the order of the space, then the parameters to fix. Empty with
        fewer than 20 complete trials.
    """
    complete = result.top(len(result.records))
    if result.space is None or len(complete) < FEWEST_TRIALS:
        return []
    axes = axes_of(result, complete)
    best = complete[: max(FEWEST_BEST, math.ceil(OUTER * len(complete)))]
    crowded = [each for axis in axes.values() if (each := _crowded(axis, best, complete))]
    idle = _idle(result, axes, importances(result) if found is None else found)
    return [*crowded, *(each for each in idle if each.name not in {c.name for c in crowded})]


def _crowded(
    axis: Axis, best: Sequence[TrialRecord], complete: Sequence[TrialRecord]
) -> Advice | None:
    """Return the advice to change a range because the best trials are at one of its ends."""
    parameter = axis.parameter
    if not axis.is_number or parameter is None or parameter.quantiles or axis.high <= axis.low:
        return None
    places, everywhere = _places(axis, best), _places(axis, complete)
    if len(places) < FEWEST_BEST:
        return None
    # Of a few integers, the outermost one alone may be more than a tenth of them.
    even = max(OUTER, 1 / axis.n_values)
    for upper in (True, False):
        n, n_all = (sum(_is_outer(p, upper=upper) for p in them) for them in (places, everywhere))
        if (
            n < CROWDED * len(places)
            or _tail(n, len(places), even) > LEVEL
            or _tail(n, len(places), n_all / len(everywhere)) > LEVEL_TO_OTHERS
        ):
            continue
        what, line = _change(axis, upper=upper)
        evidence = (
            f"{n} of the best {len(places)} of {len(everywhere)} complete trials lie in the "
            f"{'upper' if upper else 'lower'} tenth of its range"
            f"{' (on its log scale)' if axis.log else ''}; evenly spread it would be "
            f"{even * len(places):.1f}."
        )
        return Advice(axis.name, what, evidence, line)
    return None


def _places(axis: Axis, records: Sequence[TrialRecord]) -> list[float]:
    has = [record.trial.params for record in records if axis.name in record.trial.params]
    return [axis.place(params[axis.name]) for params in has]


def _is_outer(place: float, *, upper: bool) -> bool:
    return (1 - place if upper else place) <= OUTER


def _change(axis: Axis, *, upper: bool) -> tuple[str, str]:
    """Return what to do with a range whose best values are at one end, and its new line."""
    assert axis.parameter is not None
    low, high = (int(v) if axis.is_integer else v for v in (axis.low, axis.high))
    end = high if upper else low
    line = _wider(axis, upper=upper)
    if line:
        return f"Widen {axis.name} beyond {number(end)}.", line
    if not upper and not axis.log and 0 < low <= high / LOG_RANGE:
        line = line_between(axis.parameter, low, high, log=True)
        return f"Search {axis.name} on a log scale.", line
    what = f"{axis.name} does best at {number(end)}, the end of what it can be: fix it there."
    return what, line_of_value(axis.parameter, end)


def _wider(axis: Axis, *, upper: bool) -> str:
    """Return the line with a range that goes on by half of it; empty if it cannot."""
    assert axis.parameter is not None
    place = 1.5 if upper else -0.5
    if axis.log:
        new = axis.value_at(place)
        new = float(f"{new:.1g}") if not axis.is_integer else max(1.0, float(f"{new:.2g}"))
    elif axis.step is not None and (axis.high - axis.low) / axis.step < 4:
        new = axis.high + 2 * axis.step if upper else axis.low - 2 * axis.step
    else:
        new = axis.value_at(place)
        if axis.step is not None:
            n_steps = math.ceil((axis.high - axis.low) / axis.step / 2)
            new = axis.high + n_steps * axis.step if upper else axis.low - n_steps * axis.step
        new = float(f"{new:.6g}")
    if axis.low >= 0:
        new = max(new, 0.0)  # what is not negative has no negative values, as a rule
    if axis.is_integer and axis.low >= 1:
        new = max(new, 1.0)
    if axis.low >= 0 and axis.high <= 1 and not axis.log and not axis.is_integer:
        new = min(new, 1.0)  # shares and probabilities
    low, high = (axis.low, new) if upper else (new, axis.high)
    gained = (high - axis.high) + (axis.low - low)
    if gained <= (0 if axis.log or axis.is_integer else 0.05 * (axis.high - axis.low)):
        return ""
    if axis.is_integer:
        return line_between(axis.parameter, int(low), int(high))
    return line_between(axis.parameter, low, high)


def _tail(n: int, n_trials: int, p: float) -> float:
    """Return the probability of ``n`` or more out of ``n_trials``."""
    return sum(
        math.comb(n_trials, k) * p**k * (1 - p) ** (n_trials - k) for k in range(n, n_trials + 1)
    )


def _idle(result: StudyResult, axes: dict[str, Axis], found: Sequence[Importance]) -> list[Advice]:
    """Return the advice to fix what did nothing, if anything else did something."""
    if not any(each.is_more_than_chance for each in found) or result.winner is None:
        return []
    fixed = []
    for each in found:
        axis = axes.get(each.name)
        known = axis is not None and axis.parameter is not None and not axis.parameter.quantiles
        if each.is_more_than_chance or each.n_trials < FEWEST_FOR_NOTHING or not known:
            continue
        if each.chance > MOST_BY_CHANCE:  # anything but a huge effect would go unseen
            continue
        if each.name in _parents(result) or each.name not in result.winner.trial.params:
            continue
        value = result.winner.trial.params[each.name]
        assert axis is not None
        assert axis.parameter is not None
        evidence = (
            f"Its importance is {each.value:.1%} over {each.n_trials} trials; shuffled scores reach"
            f" {each.chance:.1%} in one of 20 studies."
        )
        fixed.append(
            Advice(
                each.name,
                f"No effect of {each.name} was seen: fix it, for example as the winner has it.",
                evidence,
                line_of_value(axis.parameter, value),
            )
        )
    return fixed


def _parents(result: StudyResult) -> Collection[str]:
    """Return the parameters on whose values others depend."""
    assert result.space is not None
    return {parent for parents in result.space.conditions.values() for parent in parents}
