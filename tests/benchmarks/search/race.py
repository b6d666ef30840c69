"""Rules by which folds are raced, replayed on fold tables: ``python race.py --folds DIR``.

No training, and none of the product's machinery but its samplers: a search is a loop, a trial a
few looks at the table. One trial at a time. The choice is the complete trial with the best mean
over all folds; all epochs of all folds are charged.
"""

import argparse
import itertools
import json
import sys
import time
from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import optuna  # noqa: E402
from folds import FoldTable, fold_tables  # noqa: E402

from hpo.samplers.base import make_sampler  # noqa: E402
from hpo.space import SearchSpace  # noqa: E402
from hpo.trial import derive_seed  # noqa: E402

STOPPED, COMPLETE, LATER = "stopped", "complete", "later"


@dataclass(frozen=True)
class Rule:
    """How the folds of a trial are trained and when it stops.

    Parameters
    ----------
    folds : {"lockstep", "race", "by_hand", "incumbent"}
        All at once; one first, and the others if it is promoted; one after the other, with the
        mean of those trained reported to Optuna's median rule as people write it; one after the
        other, until the mean is below the incumbent's over the same folds.
    pruner : {"none", "rungs", "median"}
        Within a fold or within lock-step: no stops, the median at rungs, Optuna's median.
    promote : int
        A trial gets the other folds if it is among the best ``1 / promote`` of those that ended
        the first.
    first : {"fixed", "rotating"}
    rest : {"lockstep", "sequence"}
        The other folds at once, or one after the other, each of them judged as the first.
    rungs_later : bool
        Whether the other folds are judged at rungs, too.
    late : bool
        Whether a trial that was not promoted is, once it is among the best of more.
    told : {"pruned", "fold"}
        What the sampler is told of a trial that ended a fold and no more: that it was pruned, or
        its score there less that fold's own effect.
    """

    folds: Literal["lockstep", "race", "by_hand", "incumbent"] = "lockstep"
    pruner: Literal["none", "rungs", "median"] = "rungs"
    promote: int = 2
    first: Literal["fixed", "rotating"] = "fixed"
    rest: Literal["lockstep", "sequence"] = "lockstep"
    rungs_later: bool = True
    late: bool = False
    told: Literal["pruned", "fold"] = "pruned"
    eta: int = 2
    first_rung: int | None = None
    spacing: int | None = None
    slack: float | None = None
    slack_only: bool = False
    judged_by: str = 'last'
    ceil: bool = False
    least: int = 0

    @property
    def name(self) -> str:
        if self.folds == "lockstep":
            return f"lockstep {self.pruner}" + (f" eta {self.eta}" if self.eta != 2 else "") + (f" rungs from {self.first_rung}" if self.first_rung else "") + (f" spacing {self.spacing}" if self.spacing else "") + (f" {self.judged_by}" if self.judged_by!="last" else "") + (" ceil" if self.ceil else "") + (f" least {self.least}" if self.least else "")
        if self.folds in {"by_hand", "incumbent"}:
            return self.folds if self.pruner == "median" else f"{self.folds} {self.pruner}"
        parts = [f"race {self.promote}", self.first]
        parts += ["" if self.pruner == "rungs" else f"first fold: {self.pruner}"]
        parts += ["one by one" if self.rest == "sequence" else ""]
        parts += ["" if self.rungs_later else "no rungs later", "late" if self.late else ""]
        parts += [f"told {self.told}" if self.told != "pruned" else ""]
        parts += [f"eta {self.eta}"] if self.eta != 2 else []
        parts += [f"rungs from {self.first_rung}"] if self.first_rung else []
        parts += [f"spacing {self.spacing}"] if self.spacing else []
        parts += [self.judged_by] if self.judged_by!="last" else []
        parts += ["ceil"] if self.ceil else []
        parts += [f"least {self.least}"] if self.least else []
        parts += [f"slack {self.slack}" + (" only" if self.slack_only else "")] if self.slack is not None else []
        return ", ".join(part for part in parts if part)


def rungs(n_steps: int, eta: int, first: int | None = None) -> list[int]:
    """Return the product's rungs; see `HalvingPruner`."""
    found, rung = [], first or max(1, round(n_steps / 17))
    while rung < n_steps:
        found.append(rung)
        rung *= eta
    return found


class Spent(Exception):
    """The budget ended within a trial."""


class Search:
    """One search on one table.

    Parameters
    ----------
    table : FoldTable
    rule : Rule
    sampler : str
        As `Study` takes it, or ``table``: settings in random order.
    seed : int
    n_units : int
        Budget, in full trainings on all folds.
    """

    def __init__(self, table: FoldTable, rule: Rule, sampler: str, seed: int, n_units: int) -> None:
        self.table, self.rule = table, rule
        self.budget = n_units * table.n_steps * table.n_folds
        self.spent = self.n_complete = 0
        self.choices: list[tuple[int, int]] = []
        self._best = -np.inf
        self._ladders: dict[Any, list[float]] = defaultdict(list)
        self._complete: list[int] = []
        self._ended: list[tuple[float, int, int]] = []
        self._waiting: dict[int, int] = {}
        self._rungs = set(rungs(table.n_steps, rule.spacing or rule.eta, rule.first_rung))
        self._settings = _Settings(table, sampler, seed)

    def run(self) -> None:
        """Search until the budget is spent or no setting is left."""
        number = 0
        try:
            while True:
                if self.rule.late and (late := self._promoted_late()) is not None:
                    self._finish(late, self._waiting.pop(late))
                    continue
                if (setting := self._settings.ask()) is None:
                    return
                state = getattr(self, f"_{self.rule.folds}")(setting, number)
                number += 1
                self._settings.tell(*self._told(setting, state, number - 1))
        except Spent:
            pass
        finally:
            self.n_trials = number

    # -- Trials ------------------------------------------------------------------------------

    def _lockstep(self, setting: int, _: int) -> str:
        curve = self.table.means[setting]
        if not self._train("all", curve, self.table.n_folds):
            return STOPPED
        return self._completed(setting)

    def _race(self, setting: int, number: int) -> str:
        first = number % self.table.n_folds if self.rule.first == "rotating" else 0
        curve = self.table.curves[setting, :, first]
        if not self._train(("first", first), curve, 1):
            return STOPPED
        self._ended.append((float(curve.max()), setting, first))
        share = self._promoted(("ended", first), float(curve.max()))
        if self.rule.slack is not None and len(self._complete) >= 4:
            gaps = self.table.curves[self._complete, :, first].max(axis=1) - self.table.values[self._complete]
            fine = curve.max() - gaps.mean() + self.rule.slack * gaps.std(ddof=1) >= self._best
            share = fine if self.rule.slack_only else share and fine
        if not share:
            self._waiting[setting] = first
            return LATER
        return self._finish(setting, first)

    def _finish(self, setting: int, first: int) -> str:
        """Train the other folds."""
        curves, n_folds = self.table.curves[setting], self.table.n_folds
        if self.rule.rest == "lockstep":
            judged = self.rule.rungs_later
            if not self._train("later", curves.mean(1), n_folds - 1, judged=judged):
                return STOPPED
            return self._completed(setting)
        order = [first, *(k for k in range(n_folds) if k != first)]
        for n in range(1, n_folds):
            so_far = curves[:, order[: n + 1]].mean(1)
            place = (n, first)
            if not self._train(("later", place), so_far, 1, judged=self.rule.rungs_later):
                return STOPPED
            last = n == n_folds - 1
            if not last and not self._promoted(("ended", place), float(so_far.max())):
                return STOPPED
        return self._completed(setting)

    def _by_hand(self, setting: int, _: int) -> str:
        """Fold by fold, each to its end; the mean so far is judged by Optuna's median."""
        best = self.table.curves[setting].max(axis=0)
        running = np.cumsum(best) / np.arange(1, len(best) + 1)
        for k, value in enumerate(running[:-1]):
            self._pay(self.table.n_steps)
            if len(self._complete) >= 5 and self.rule.pruner == "median":
                bests = self.table.curves[self._complete].max(axis=1)
                peers = bests[:, : k + 1].mean(axis=1)
                if running[: k + 1].max() < np.median(peers):
                    return STOPPED
            assert np.isfinite(value)
        self._pay(self.table.n_steps)
        return self._completed(setting)

    def _incumbent(self, setting: int, _: int) -> str:
        """Fold by fold at rungs, until the mean is below the incumbent's over the same folds."""
        curves = self.table.curves[setting]
        for k in range(self.table.n_folds):
            so_far = curves[:, : k + 1].mean(1)
            if not self._train(("later", k), so_far, 1, judged=k == 0):
                return STOPPED
            if self.choices and k < self.table.n_folds - 1:
                theirs = self.table.curves[self.choices[-1][1]][:, : k + 1].mean(1).max()
                if so_far.max() < theirs:
                    return STOPPED
        return self._completed(setting)

    # -- Judgements --------------------------------------------------------------------------

    def _train(self, ladder: Any, curve: np.ndarray, width: int, *, judged: bool = True) -> bool:
        """Train ``width`` folds step by step; return whether they came to their end."""
        n_steps = self.table.n_steps
        for step, value in enumerate(curve.tolist(), 1):
            self._pay(width)
            if not judged or self.rule.pruner == "none" or step == n_steps:
                continue
            if self.rule.pruner == "median":
                if self._below_median(curve, step):
                    return False
            elif step in self._rungs and not self._goes_on((ladder, step), self._judged(curve, step), self.rule.eta):
                return False
        return True

    def _below_median(self, curve: np.ndarray, step: int) -> bool:
        if len(self._complete) < 5:
            return False
        peers = np.median(self.table.means[self._complete, step - 1])
        return float(curve[:step].max()) < float(peers)

    def _judged(self, curve: np.ndarray, step: int) -> float:
        if self.rule.judged_by == "best":
            return float(curve[:step].max())
        if self.rule.judged_by == "mean":
            return float(curve[step // 2 : step].mean())
        if self.rule.judged_by == "mean3":
            return float(curve[max(0, step - 3, step // 2) : step].mean())
        return float(curve[step - 1])

    def _goes_on(self, place: Any, value: float, eta: float) -> bool:
        values = self._ladders[place]
        better = len(values) - bisect_right(values, value)
        insort(values, value)
        if len(values) <= self.rule.least:
            return True
        n = -(-len(values) // eta) if self.rule.ceil else len(values) // eta
        return better < max(1, n)

    def _promoted(self, place: Any, value: float) -> bool:
        return self._goes_on(place, value, self.rule.promote)

    def _promoted_late(self) -> int | None:
        """Return the best of the waiting that is now among the best share of its peers."""
        for value, setting, first in sorted(self._ended, reverse=True):
            if setting not in self._waiting:
                continue
            values = self._ladders["ended", first]
            better = len(values) - bisect_right(values, value)
            if better < max(1, len(values) // self.rule.promote):
                return setting
        return None

    def _completed(self, setting: int) -> str:
        self.n_complete += 1
        self._complete.append(setting)
        value = float(self.table.values[setting])
        if value > self._best:
            self._best = value
            self.choices.append((self.spent, setting))
        return COMPLETE

    def _pay(self, n: int) -> None:
        self.spent += n
        if self.spent > self.budget:
            raise Spent

    def _told(self, setting: int, state: str, number: int) -> tuple[str, float]:
        if state == COMPLETE:
            return state, float(self.table.values[setting])
        if state == LATER and self.rule.told == "fold":
            first = self._waiting[setting]
            return COMPLETE, float(self.table.curves[setting, :, first].max()) - self._effect(first)
        return STOPPED, float(self.table.means[setting, 0])

    def _effect(self, fold: int) -> float:
        """Return how much better this fold's scores are than the means, over complete trials."""
        if not self._complete:
            return 0.0
        best = self.table.curves[self._complete, :, fold].max(axis=1)
        return float(np.mean(best - self.table.values[self._complete]))


class _Settings:
    """Settings of a table, none of them twice, in random order or as a sampler proposes."""

    def __init__(self, table: FoldTable, sampler: str, seed: int) -> None:
        self._table, self._used = table, set[int]()
        own = derive_seed(seed, table.name) % 2**31
        order = np.random.default_rng(own).permutation(table.n_settings)
        self._order: Iterator[int] = iter(order.tolist())
        self._study = None
        if sampler != "table":
            space = SearchSpace.load(table.space)
            self._distributions = space.distributions
            made = make_sampler(sampler, own, parallel=False, space=space)
            self._study = optuna.create_study(direction="maximize", sampler=made)

    def ask(self) -> int | None:
        if self._study is None:
            return next(self._order, None)
        if len(self._used) == self._table.n_settings:
            return None
        self._trial = self._study.ask(self._distributions)
        setting = self._table.nearest(self._trial.params, self._used)
        self._used.add(setting)
        return setting

    def tell(self, state: str, value: float) -> None:
        if self._study is None:
            return
        if state == COMPLETE:
            self._study.tell(self._trial, value)
        else:
            self._trial.report(value, 0)
            self._study.tell(self._trial, state=optuna.trial.TrialState.PRUNED)


RULES = [
    Rule(pruner="none"),
    Rule(pruner="median"),
    Rule(),
    Rule("by_hand", "median"),
    Rule("race"),
    Rule("race", first="rotating"),
    Rule("race", promote=3),
    Rule("race", promote=4),
    Rule("race", rungs_later=False),
    Rule("race", late=True),
    Rule("race", promote=3, late=True),
    Rule("race", promote=4, late=True),
    Rule("race", rest="sequence"),
    Rule("race", promote=3, rest="sequence"),
    Rule("race", promote=4, first="rotating"),
    Rule("incumbent", "rungs"),
    Rule("race", told="fold"),
    Rule("race", promote=3, told="fold"),
    Rule("race", promote=4, told="fold"),
]
AT = (4, 8, 12, 16, 24)


def run_one(work: tuple[FoldTable, Rule, str, int, int]) -> dict[str, Any]:
    """Run one search and return the setting chosen after each unit."""
    table, rule, sampler, seed, n_units = work
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    search = Search(*work)
    began = time.process_time()
    search.run()
    unit = search.budget // n_units
    chosen = []
    for k in range(1, n_units + 1):
        so_far = [setting for spent, setting in search.choices if spent <= k * unit]
        chosen.append(so_far[-1] if so_far else None)
    return {
        "task": table.name,
        "rule": rule.name,
        "sampler": sampler,
        "seed": seed,
        "chosen": chosen,
        "n_trials": search.n_trials,
        "n_complete": search.n_complete,
        "seconds": round(time.process_time() - began, 2),
    }
