"""What the results of `run` come to: regrets, differences and units, as Markdown."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

AT = (8, 16, 32, 64)
AT_FOLDS = (4, 8, 12, 16, 24)
PLAIN = "optuna_tpe + nop"
MEDIAN = "optuna_tpe + optuna_median:n_warmup_steps=5"
MEDIAN_OF_FOLDS = "optuna_tpe + optuna_median"


class Results:
    """Regrets of all runs.

    A regret is (best known - chosen) / (best known - median of random settings), at most 1, and 1
    before the first complete trial. The best known is the best of the task's own search and of
    all runs.

    Parameters
    ----------
    lines : sequence of dict
        What `run` has written.
    """

    def __init__(self, lines: Sequence[Mapping[str, Any]]) -> None:
        self.runs = [line for line in lines if "arm" in line]
        self._scales = {
            line["scale"]: (line["best"], line["median"]) for line in lines if "scale" in line
        }
        for run in self.runs:
            best, median = self._scales[run["task"]]
            found = max((c for c in run["chosen"] if c is not None), default=best)
            self._scales[run["task"]] = (max(best, found), median)
        self.families = list(dict.fromkeys(run["family"] for run in self.runs))
        self.arms = list(dict.fromkeys(run["arm"] for run in self.runs))

    def regrets(self, arm: str, family: str) -> dict[tuple[str, int], np.ndarray]:
        """Return the regret after each unit, by task and seed."""
        return {
            (run["task"], run["seed"]): self._regret(run)
            for run in self.runs
            if (run["arm"], run["family"]) == (arm, family)
        }

    def _regret(self, run: Mapping[str, Any]) -> np.ndarray:
        best, median = self._scales[run["task"]]
        chosen = np.array([-math.inf if c is None else c for c in run["chosen"]])
        return np.minimum((best - chosen) / (best - median), 1.0)


def by_task(regrets: Mapping[tuple[str, int], np.ndarray]) -> np.ndarray:
    """Return ``n_tasks x n_units`` means over the seeds: tasks are what a result is to hold for."""
    names = list(dict.fromkeys(name for name, _ in regrets))
    return np.array(
        [np.mean([r for (task, _), r in regrets.items() if task == name], 0) for name in names]
    )


def with_error(values: np.ndarray, digits: int = 2) -> str:
    """Return a mean over the tasks with its standard error."""
    if not len(values):
        return ""
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{values.mean():.{digits}f} ± {error:.{digits}f}"


def tables(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return all tables."""
    results = Results(lines)
    parts = []
    for family in results.families:
        parts += [f"### {family}", regret_table(results, family), paired_table(results, family)]
    if any(run.get("fresh") for run in results.runs):
        parts += ["### Fresh folds", fresh_table(results)]
    return "\n\n".join(parts)


def points(family: str) -> tuple[int, ...]:
    """Return the budgets that a family's tables tell of."""
    return AT_FOLDS if family == "folds" else AT


def regret_table(results: Results, family: str) -> str:
    """Return mean and median regret after 8 to 64 units, with what the searches were like."""
    at = points(family)
    head = ["arm", *(f"mean at {k}" for k in at), "medians", "units", "trials", "complete"]
    arms = [arm for arm in results.arms if results.regrets(arm, family)]
    return markdown([*head, "s", "runs"], [_regret_row(results, arm, family) for arm in arms])


def _regret_row(results: Results, arm: str, family: str) -> list[Any]:
    regrets = results.regrets(arm, family)
    means = by_task(regrets)
    plain = by_task(results.regrets(PLAIN + noise_of(arm), family))
    at = [k for k in points(family) if k <= means.shape[1]]
    medians = np.median(list(regrets.values()), axis=0)
    runs = [run for run in results.runs if (run["arm"], run["family"]) == (arm, family)]
    mean = {
        name: np.mean([run[name] for run in runs]) for name in ("n_trials", "n_complete", "seconds")
    }
    return [
        arm,
        *(with_error(means[:, k - 1]) for k in at),
        *[""] * (len(points(family)) - len(at)),
        " / ".join(f"{medians[k - 1]:.2f}" for k in at),
        units_to(means, plain),
        f"{mean['n_trials']:.0f}",
        f"{mean['n_complete']:.0f}",
        f"{mean['seconds']:.1f}",
        len(runs),
    ]


def noise_of(arm: str) -> str:
    """Return the end of an arm's name that tells its noise."""
    return arm[arm.index(", noise") :] if ", noise" in arm else ""


def units_to(means: np.ndarray, plain: np.ndarray) -> str:
    """Return after how many units the mean is that of plain TPE at the end, or better."""
    if not len(plain):
        return ""
    reached = np.flatnonzero(means.mean(axis=0) <= plain.mean(axis=0)[-1])
    return str(reached[0] + 1) if len(reached) else f"> {means.shape[1]}"


def paired_table(results: Results, family: str) -> str:
    """Return the differences to plain TPE, and to it with the median rule, under equal noise."""
    rows = []
    median = MEDIAN_OF_FOLDS if family == "folds" else MEDIAN
    for arm in results.arms:
        for other in (PLAIN + noise_of(arm), median + noise_of(arm)):
            ours, theirs = (results.regrets(name, family) for name in (arm, other))
            both = [key for key in ours if key in theirs]
            if arm in {other, PLAIN + noise_of(arm)} or not both:
                continue
            apart = by_task({key: ours[key] - theirs[key] for key in both})
            at = [k for k in points(family) if k <= apart.shape[1]]
            rows.append([f"{arm} - {other}", *(with_error(apart[:, k - 1]) for k in at), len(both)])
    return markdown(["difference, paired", *(f"at {k}" for k in points(family)), "pairs"], rows)


def fresh_table(results: Results) -> str:
    """Return what the winners score on folds that no search saw, less lock-step's; by task."""
    scores: dict[str, dict[tuple[str, int], Any]] = {arm: {} for arm in results.arms}
    for run in results.runs:
        if run.get("fresh"):
            fresh = [math.nan if each is None else each for each in run["fresh"]]
            scores[run["arm"]][run["task"], run["seed"]] = np.array(fresh)
    base = scores.get(MEDIAN_OF_FOLDS) or {}
    rows = []
    for arm, ours in scores.items():
        for task in dict.fromkeys(task for task, _ in ours):
            both = [key for key in ours if key[0] == task and key in base]
            apart = np.array([100 * (ours[key] - base[key]) for key in both])
            if arm != MEDIAN_OF_FOLDS and both:
                at = [k for k in AT_FOLDS if k <= apart.shape[1]]
                told = [with_error(apart[np.isfinite(apart[:, k - 1]), k - 1]) for k in at]
                rows.append([arm, task, *told, *[""] * (len(AT_FOLDS) - len(at)), len(both)])
    head = ["arm, in points above lock-step with Optuna's median", "table"]
    return markdown([*head, *(f"at {k}" for k in AT_FOLDS), "pairs"], rows)


def markdown(head: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    """Return a Markdown table; the first column is text, the others are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
