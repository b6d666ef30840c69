"""What `hpo list` and `hpo show` read of a study says the same as all of it."""

import math
import random
from dataclasses import replace

import optuna
import pytest

from hpo.cli import _show
from hpo.space import SearchSpace
from hpo.storage.open import open_storage
from hpo.storage.reader import StorageReader
from hpo.storage.trial_store import TrialStore
from hpo.study import load_result
from hpo.study.load import read_outline
from hpo.trial import Cause, Report, TrialRecord, TrialState

pytestmark = pytest.mark.slow

SPACE = SearchSpace.load(
    {
        "x": {"type": "float", "low": 0.0, "high": 1.0},
        "kind": ["a", "b"],
        "n": {"type": "int", "low": 1, "high": 3, "when": {"kind": ["a"]}},
    }
)
ENDS = [
    (TrialState.COMPLETE, None),
    (TrialState.PRUNED, Cause.PRUNER),
    (TrialState.FAILED, Cause.ERROR),
    (TrialState.FAILED, None),
    (TrialState.INTERRUPTED, Cause.BUDGET),
    (TrialState.INTERRUPTED, Cause.STOPPED),
    (TrialState.RUNNING, None),
]


def write(url, seed, *, n=40, ends=ENDS, **settings):
    """Write a study of which all is drawn: how trials end, at which step, with which scores."""
    draw = random.Random(seed)
    store = TrialStore("s", SPACE, url, select=draw.choice(["best", "last"]), **settings)
    store.set_attr("select", store.select)
    points = ({"x": 0.25}, {"x": 0.5, "kind": "b"})
    shown = {
        "scoring": "accuracy",
        "fold_sizes": [[8, 2]],
        "costs": list(settings.get("costs", ())),
    }
    store.set_attr("shown", shown | {"compare": [], "watch": [], "enqueued": list(points)})
    store.enqueue(points)
    for _ in range(n):
        one_trial(store, draw, *draw.choice(ends))
    store.retry_failed()
    one_trial(store, draw, *ends[0])
    if len(ends) > 1:
        one_trial(store, draw, TrialState.FAILED, Cause.ERROR)
    ended = [r for r in store.records() if r.state is TrialState.COMPLETE]
    for record in ended[:2]:
        store.revoke(replace(record, reason="the batch did not train it"))
    return store


def one_trial(store, draw, state, cause):
    trial = store.ask()
    record = TrialRecord(trial, max_steps=4, started=draw.random(), trained_by="serial")
    store.begin(record)
    if state is TrialState.FAILED and draw.random() < 0.5:
        n_steps = 0
    else:
        n_steps = 4 if state is TrialState.COMPLETE else draw.randint(0, 3)
    reports = []
    for step in range(1, n_steps + 1):
        folds = [draw.choice([0.25, 0.5, 0.75, draw.random()]) for _ in range(3)]
        value = math.nan if draw.random() < 0.1 else sum(folds) / 3
        reports.append(Report(trial.number, step, value, tuple(folds), {"loss": (1.0,) * 3}, 0.5))
        store.report(reports[-1])
    if state is not TrialState.RUNNING:
        error = "Traceback\nValueError: no" if cause is Cause.ERROR else None
        store.tell(
            replace(
                record,
                state=state,
                cause=cause,
                reports=tuple(reports),
                reason="" if state is TrialState.COMPLETE else f"why {draw.randint(0, 1)}",
                error=error,
                ended=draw.random() + 1,
            )
        )


def facts(result):
    """Return what a study's lines are made of."""
    return {
        "winner": result.winner,
        "error": None if result.winner is None else repr(result.best_score_se),
        "counts": [(r.number, r.state, r.cause, r.reason, r.error) for r in result.records],
        "times": [(r.started, r.ended) for r in result.records],
        "saved": (result.epochs_saved_fraction, result.epochs_run),
        "params": [r.trial for r in result.records],
        "scores": [repr(r.value) for r in result.records],
        "without a score": [r.without_score for r in result.records],
        "trained": [(r.trained_by, r.trained_by_reason) for r in result.records],
        "failures": result.failure_summary(),
        "enqueued": [(rank, r.number, repr(r.value)) for rank, r in result.enqueued_trials()],
        "select": result.select,
        "scoring": result.scoring,
    }


@pytest.fixture(params=["journal", "sqlite"])
def url(request, tmp_path):
    return f"{request.param}:///{tmp_path / 'storage'}"


@pytest.mark.parametrize("seed", range(4))
def test_an_outline_says_the_same(url, seed):
    write(url, seed)
    whole = load_result("s", url)
    assert whole.winner is not None
    outline = read_outline(StorageReader(url), "s", n_whole=3)
    assert facts(outline) == facts(whole)
    assert outline.top(3) == whole.top(3)
    # It is one: most trials have no scores of folds.
    assert sum(bool(r.reports and r.reports[0].fold_values) for r in outline.records) < 20


@pytest.mark.parametrize("end", ENDS[1:])
def test_without_a_complete_trial(tmp_path, end):
    url = f"journal:///{tmp_path / 'storage'}"
    write(url, 0, n=6, ends=[end])
    whole = load_result("s", url)
    assert facts(read_outline(StorageReader(url), "s")) == facts(whole)


def test_a_study_with_costs_is_read_as_a_whole(url):
    """Optuna keeps no intermediate values of one with several objectives."""
    write(url, 1, costs=("loss",))
    whole = load_result("s", url)
    outline = read_outline(StorageReader(url), "s")
    assert facts(outline) == facts(whole)
    assert outline.pareto_front() == whole.pareto_front() != []


def test_a_study_of_another_program(url):
    """Its value is no report: only intermediate values are, here as in the whole."""
    study = optuna.create_study(storage=open_storage(url), study_name="s")
    study.add_trial(optuna.create_trial(value=9.0))
    study.add_trial(optuna.create_trial(value=0.25, intermediate_values={0: 0.5, 2: 0.75}))
    whole = load_result("s", url)
    assert facts(read_outline(StorageReader(url), "s")) == facts(whole)
    assert whole.best_score == 0.75


def test_the_commands_print_the_same(url, monkeypatch, capsys):
    write(url, 2)

    def printed():
        _show.list_studies(url)
        _show.show_study("s", url, None)
        return capsys.readouterr().out

    short = printed()
    monkeypatch.setattr(_show, "read_outline", lambda reader, name, **_: whole(reader, name))
    whole = lambda reader, name: load_result(name, reader.url)  # noqa: E731
    assert printed() == short
    assert "Winner: trial " in short
    assert "Traceback of trial" in short
