"""Rules by which folds are raced, replayed on fold tables: ``python race.py --seeds 100``.

No training, and none of the product's machinery but its samplers: a search is a loop, a trial a
few looks at the table. One trial at a time. The choice is the complete trial with the best mean
over all folds; all epochs of all folds are charged. No setting is tried twice.
"""

import argparse
import re
import sys
from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import optuna
from folds import FoldTable, fold_tables
from race_rules import RULES, Rule
from tables import AT_FOLDS, markdown, with_error

from hpo.samplers.base import make_sampler
from hpo.space import SearchSpace
from hpo.trial import derive_seed

STOPPED, COMPLETE, WAITING = "stopped", "complete", "waiting"


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
        self.n_units, self.unit = n_units, table.n_steps * table.n_folds
        self.spent = self.n_trials = 0
        self.complete: list[int] = []
        self.choices: list[tuple[int, int]] = []
        self._ladders: dict[Any, list[float]] = defaultdict(list)
        self._waiting: dict[int, tuple[float, int]] = {}
        first = max(1, round(table.n_steps / 17))
        self._rungs = {first * 2**k for k in range(10) if first * 2**k < table.n_steps}
        self._settings = _Settings(table, sampler, seed)

    def run(self) -> "Search":
        """Search until the budget is spent or no setting is left."""
        try:
            while True:
                if self.rule.late and (late := self._promoted_late()) is not None:
                    self._others(late, self._waiting.pop(late)[1])
                    continue
                if (setting := self._settings.ask()) is None:
                    return self
                state = getattr(self, f"_{self.rule.folds}")(setting)
                self.n_trials += 1
                self._settings.tell(*self._told(setting, state))
        except Spent:
            return self

    def by_unit(self, values: np.ndarray) -> list[float]:
        """Return the choice's value after 1, 2, … units; nan before there is one."""
        found = []
        for k in range(1, self.n_units + 1):
            so_far = [setting for spent, setting in self.choices if spent <= k * self.unit]
            found.append(float(values[so_far[-1]]) if so_far else np.nan)
        return found

    # -- Trials ------------------------------------------------------------------------------

    def _lockstep(self, setting: int) -> str:
        whole = self._train("all", self.table.means[setting], self.table.n_folds)
        return self._completed(setting) if whole else STOPPED

    def _race(self, setting: int) -> str:
        first = self.n_trials % self.table.n_folds if self.rule.rotating else 0
        curve = self.table.curves[setting, :, first]
        if not self._train(("first", first), curve, 1):
            return STOPPED
        best = float(curve.max())
        if not self._goes_on(("ended", first), best, self.rule.promote):
            self._waiting[setting] = best, first
            return WAITING
        return self._others(setting, first)

    def _others(self, setting: int, first: int) -> str:
        """Train the other folds."""
        curves, n_folds, judged = self.table.curves[setting], self.table.n_folds, True
        judged = self.rule.rungs_later
        if not self.rule.one_by_one:
            whole = self._train("others", curves.mean(1), n_folds - 1, judged=judged)
            return self._completed(setting) if whole else STOPPED
        order = [first, *(k for k in range(n_folds) if k != first)]
        for n in range(2, n_folds + 1):
            so_far, place = curves[:, order[:n]].mean(1), (n, first)
            if not self._train(("more", place), so_far, 1, judged=judged):
                return STOPPED
            best = float(so_far.max())
            if n < n_folds and not self._goes_on(("ended", place), best, self.rule.promote):
                return STOPPED
        return self._completed(setting)

    def _by_hand(self, setting: int) -> str:
        """Fold by fold, each to its end; the mean so far is judged by Optuna's median."""
        bests = self.table.curves.max(axis=1)
        for n in range(1, self.table.n_folds):
            self._pay(self.table.n_steps)
            if len(self.complete) >= 5:
                means = [bests[setting, :k].mean() for k in range(1, n + 1)]
                if max(means) < np.median(bests[self.complete, :n].mean(axis=1)):
                    return STOPPED
        self._pay(self.table.n_steps)
        return self._completed(setting)

    def _incumbent(self, setting: int) -> str:
        """Fold by fold, the first at rungs, until the mean is below the incumbent's."""
        curves = self.table.curves
        for n in range(1, self.table.n_folds + 1):
            so_far = curves[setting, :, :n].mean(1)
            if not self._train(n, so_far, 1, judged=n == 1):
                return STOPPED
            if self.choices and n < self.table.n_folds:
                theirs = curves[self.choices[-1][1], :, :n].mean(1)
                if so_far.max() < theirs.max():
                    return STOPPED
        return self._completed(setting)

    # -- Judgements --------------------------------------------------------------------------

    def _train(self, ladder: Any, curve: np.ndarray, width: int, *, judged: bool = True) -> bool:
        """Train ``width`` folds step by step; return whether they came to their end."""
        pruner = self.rule.pruner if judged else "none"
        for step in range(1, self.table.n_steps):
            self._pay(width)
            if pruner == "median" and self._below_median(curve, step):
                return False
            if pruner == "rungs" and step in self._rungs:
                value = curve[:step].max() if self.rule.by == "best" else curve[step - 1]
                if not self._goes_on((ladder, step), float(value), 2):
                    return False
        self._pay(width)
        return True

    def _below_median(self, curve: np.ndarray, step: int) -> bool:
        """Return whether Optuna's rule stops a trial in lock-step, after five complete ones."""
        if len(self.complete) < 5:
            return False
        return bool(curve[:step].max() < np.median(self.table.means[self.complete, step - 1]))

    def _goes_on(self, place: Any, value: float, share: int) -> bool:
        """Return whether few enough of those that came here before are better."""
        values = self._ladders[place]
        better = len(values) - bisect_right(values, value)
        insort(values, value)
        return better < max(1, len(values) // share)

    def _promoted_late(self) -> int | None:
        """Return the best of those that wait if it is now among the best of its peers."""
        for setting, (value, first) in sorted(self._waiting.items(), key=lambda x: -x[1][0]):
            values = self._ladders["ended", first]
            better = len(values) - bisect_right(values, value)
            if better < max(1, len(values) // self.rule.promote):
                return setting
        return None

    def _completed(self, setting: int) -> str:
        self.complete.append(setting)
        values = self.table.values
        if not self.choices or values[setting] > values[self.choices[-1][1]]:
            self.choices.append((self.spent, setting))
        return COMPLETE

    def _pay(self, n: int) -> None:
        self.spent += n
        if self.spent > self.n_units * self.unit:
            raise Spent

    def _told(self, setting: int, state: str) -> tuple[str, float]:
        if state == COMPLETE:
            return state, float(self.table.values[setting])
        if state == WAITING and self.rule.told == "fold":
            value, first = self._waiting[setting]
            theirs = self.table.curves[self.complete, :, first].max(axis=1)
            effect = (theirs - self.table.values[self.complete]).mean() if self.complete else 0.0
            return COMPLETE, value - float(effect)
        return STOPPED, float(self.table.means[setting, 0])


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


def regrets(table: FoldTable, search: Search) -> np.ndarray:
    """Return the regret after each unit; see `tables.Results`."""
    best, median = table.scale
    found = np.array(search.by_unit(table.values))
    return np.nan_to_num(np.minimum((best - found) / (best - median), 1.0), nan=1.0)


def row(rule: Rule, searches: dict[str, list[Search]], tables: dict[str, FoldTable]) -> list[Any]:
    """Return a rule's name, its mean regrets and its trials."""
    runs = [run for each in searches.values() for run in each]
    means = [np.mean([regrets(tables[n], run) for run in each], 0) for n, each in searches.items()]
    at = [k for k in AT_FOLDS if k <= runs[0].n_units]
    told = [with_error(np.array([mean[k - 1] for mean in means]), 3) for k in at]
    n_trials, n_complete = (
        np.mean([n(run) for run in runs])
        for n in (lambda run: run.n_trials, lambda run: len(run.complete))
    )
    return [rule.name, *told, f"{n_trials:.0f}", f"{n_complete:.0f}"]


def main(argv: Sequence[str] | None = None) -> str:
    """Replay the rules and print and return a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sampler", default="table", help="as Study takes it; random order")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--units", type=int, default=24, help="full trainings on all folds")
    parser.add_argument("--tables", nargs="*", help="names; by default all")
    parser.add_argument("--rules", default="", help="a pattern that names of rules contain")
    wanted = parser.parse_args(argv)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    tables = {t.name: t for t in fold_tables() if not wanted.tables or t.name in wanted.tables}
    rows = []
    for rule in RULES:
        if rule.told == "fold" and wanted.sampler == "table":
            continue
        if not re.search(wanted.rules, rule.name):
            continue
        searches = {
            name: [
                Search(table, rule, wanted.sampler, seed, wanted.units).run()
                for seed in range(wanted.seeds)
            ]
            for name, table in tables.items()
        }
        rows.append(row(rule, searches, tables))
    at = [f"at {k}" for k in AT_FOLDS if k <= wanted.units]
    told = markdown([f"rule ({wanted.sampler})", *at, "trials", "complete"], rows)
    print(told)
    return told


if __name__ == "__main__":
    main(sys.argv[1:])
