"""A conformance suite for analyses: inherit it, supply the analysis, and pytest runs its laws."""

import json
import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from skorch import NeuralNetClassifier
from torch import nn

from hpo.analyses import BaseAnalysis, Winner
from hpo.out_of_fold import OutOfFold
from hpo.trial import Report, Trial, TrialRecord, TrialState

__all__ = ["AnalysisConformance", "trained_winner"]

_N, _N_TEST, _CLASSES = 240, 60, np.array([0, 1, 2])
_MOST_TEXT = 60_000  # characters that every database takes as one value


def trained_winner(seed: int = 0) -> Winner:
    """Return a small net that has learnt to tell three clouds of points apart, with its data.

    Parameters
    ----------
    seed : int, default=0
        The same seed gives the same winner.
    """
    rng = np.random.default_rng(seed)
    y = rng.integers(len(_CLASSES), size=_N + _N_TEST)
    centers = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.5]])
    X = (centers[y] + rng.normal(size=(len(y), 2))).astype(np.float32)
    train, test = slice(None, _N), slice(_N, None)
    ranked = [_record(number, hidden) for number, hidden in enumerate((8, 4, 16))]

    def refitter(record: TrialRecord, rows: np.ndarray | None) -> Any:
        chosen = np.arange(_N) if rows is None else rows
        with torch.random.fork_rng():
            torch.manual_seed(seed + record.number)
            return _net(record.trial.params["hidden"]).fit(X[train][chosen], y[train][chosen])

    return Winner(
        estimator=refitter(ranked[0], None),
        ranked=ranked,
        X=X[train],
        y=y[train],
        X_test=X[test],
        y_test=y[test],
        classes=_CLASSES,
        class_names=("left", "right", "top"),
        scoring="accuracy",
        seed=seed,
        take=lambda data, rows: data[rows],
        refitter=refitter,
        oof=partial(_out_of_fold, ranked, X[train], y[train], seed),
    )


def _out_of_fold(
    ranked: list[TrialRecord], X: np.ndarray, y: np.ndarray, seed: int, number: int
) -> OutOfFold:
    """Return a trial's predictions for three folds."""
    hidden = next(r.trial.params["hidden"] for r in ranked if r.number == number)
    folds = np.arange(len(y)) % 3
    order = np.argsort(folds, kind="stable")
    with torch.random.fork_rng():
        torch.manual_seed(seed + number)
        parts = [
            _net(hidden).fit(X[folds != i], y[folds != i]).predict_proba(X[folds == i])
            for i in range(3)
        ]
    proba = np.concatenate(parts)
    return OutOfFold(
        number=number,
        rows=order,
        folds=folds[order],
        kind="predict_proba",
        step=1,
        predictions=proba,
        last_predictions=proba,
        y=y[order],
        classes=_CLASSES,
    )


def _record(number: int, hidden: int) -> TrialRecord:
    report = Report(number, 1, 0.9 - 0.01 * number, (0.9 - 0.01 * number,))
    return TrialRecord(Trial(number, {"hidden": hidden}, 0), TrialState.COMPLETE, (report,))


def _net(hidden: int) -> NeuralNetClassifier:
    layers = [nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, len(_CLASSES))]
    return NeuralNetClassifier(
        nn.Sequential(*layers),
        criterion=nn.CrossEntropyLoss,
        lr=0.1,
        max_epochs=8,
        batch_size=32,
        train_split=None,
        verbose=0,
    )


class AnalysisConformance:
    """What holds for every analysis.

    Inherit from it in a test module and supply the analysis::

        class TestMyAnalysis(AnalysisConformance):
            @pytest.fixture
            def analysis(self):
                return MyAnalysis()
    """

    @pytest.fixture
    def analysis(self) -> BaseAnalysis:
        """Return a new analysis."""
        raise NotImplementedError("A subclass supplies this fixture.")

    @pytest.fixture
    def winner(self) -> Winner:
        """Return what is analysed."""
        return trained_winner()

    @pytest.fixture
    def data(self, analysis: BaseAnalysis, winner: Winner) -> dict[str, Any]:
        """Return what the analysis finds, as it comes back from a storage."""
        data: dict[str, Any] = json.loads(json.dumps(analysis.compute(winner)))
        return data

    def test_it_has_a_name_and_a_title(self, analysis: BaseAnalysis) -> None:
        """The report and the command line need them."""
        assert analysis.name
        assert analysis.title
        assert pickle.loads(pickle.dumps(analysis)).name == analysis.name

    def test_what_it_finds_is_small_plain_data(self, data: dict[str, Any]) -> None:
        """It goes into one field of the study's storage."""
        assert isinstance(data, dict)
        assert "error" not in data
        assert len(json.dumps(data)) < _MOST_TEXT

    def test_it_tells_a_few_lines(self, analysis: BaseAnalysis, data: dict[str, Any]) -> None:
        """Of what was kept, by an analysis that has computed nothing."""
        lines = type(analysis)().summarize(data)
        assert 0 < len(lines) < 10
        for name, text in lines:
            assert isinstance(name, str)
            assert text.strip()
            assert "\n" not in text

    def test_it_draws_a_figure_of_its_own(
        self, analysis: BaseAnalysis, data: dict[str, Any], tmp_path: Path
    ) -> None:
        """It needs no display, and two figures share nothing."""
        first, second = (type(analysis)().plot(data) for _ in range(2))
        assert isinstance(first, Figure)
        assert first is not second
        first.savefig(tmp_path / "figure.png")
        assert (tmp_path / "figure.png").stat().st_size > 1000

    def test_it_repeats(self, analysis: BaseAnalysis, winner: Winner, data: dict[str, Any]) -> None:
        """Its random numbers come from the winner's seed."""
        assert json.loads(json.dumps(analysis.compute(winner))) == data

    def test_the_winner_is_left_alone(self, analysis: BaseAnalysis, winner: Winner) -> None:
        """Neither its weights nor its data change, and no hook stays on its layers."""
        module = winner.estimator.module_
        before = [weight.clone() for weight in module.parameters()]
        X, y = winner.X_test.copy(), winner.y_test.copy()
        analysis.compute(winner)
        after = list(module.parameters())
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
        assert np.array_equal(X, winner.X_test)
        assert np.array_equal(y, winner.y_test)
        left = [
            name
            for layer in module.modules()
            for name, hooks in vars(layer).items()
            if name.endswith("_hooks") and hooks
        ]
        assert left == []

    def test_without_a_test_part_or_classes_it_says_so(
        self, analysis: BaseAnalysis, winner: Winner
    ) -> None:
        """A `ValueError` that tells what is missing."""
        if analysis.needs_test_part:
            with pytest.raises(ValueError, match="held-out test part"):
                analysis.compute(replace(winner, X_test=None, y_test=None))
        if not analysis.needs_classes:
            assert analysis.compute(replace(winner, classes=None))
            return
        with pytest.raises(ValueError, match="classes"):
            analysis.compute(replace(winner, classes=None))
