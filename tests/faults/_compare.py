"""Compare a study's storage with what it was and with what MLflow has of it."""

import math
from collections import Counter

from hpo import load_result
from hpo.trial import TrialState

STATUS = {"complete": "FINISHED", "pruned": "KILLED", "interrupted": "KILLED", "failed": "FAILED"}
"""The states of trials and MLflow's (docs/storage_and_tracking.md)."""

LARGEST = 1.7976931348623157e308  # what MLflow's databases make of infinity


def snapshot(name, storage):
    """Return the texts of all finished trials that count, by their numbers."""
    try:
        result = load_result(name, storage)
    except Exception:
        return {}  # nothing was made yet
    return {
        record.number: repr(record)
        for record in result.records
        if record.state is not TrialState.RUNNING and not record.interrupted
    }


def lost(before, name, storage):
    """Return the numbers of the finished trials of a snapshot that are no more what they were."""
    after = snapshot(name, storage)
    return [number for number, text in before.items() if after.get(number) != text]


def complaints(name, storage, *, n_trials=None, tracking_uri=None, no_doubles=True):
    """Return what is wrong with a study that has ended, as texts.

    Parameters
    ----------
    name, storage : str
    n_trials : int or None
        How many trials count.
    tracking_uri : str or None
        MLflow's store, which must have every trial and every report once.
    no_doubles : bool
        Whether no two trials that count may have the same parameters.
    """
    result = load_result(name, storage)
    counted = [record for record in result.records if not record.interrupted]
    wrong = []
    if n_trials is not None and len(counted) != n_trials:
        wrong.append(f"{len(counted)} trials count and not {n_trials}")
    if running := [r.number for r in result.records if r.state is TrialState.RUNNING]:
        wrong.append(f"trials {running} are still running")
    if no_doubles:
        points = Counter(repr(sorted(r.trial.params.items())) for r in counted)
        wrong += [f"tried {n} times: {point}" for point, n in points.items() if n > 1]
    for record in result.records:
        if [r.step for r in record.reports] != list(range(1, len(record.reports) + 1)):
            wrong.append(f"trial {record.number}: steps {[r.step for r in record.reports]}")
        if not (record.started or 0.0) <= (record.ended or math.inf):
            wrong.append(f"trial {record.number} lasted {record.ended - record.started} s")
    complete = [r for r in result.records if r.state is TrialState.COMPLETE]
    best = min(complete, key=lambda r: (-r.value, r.number), default=None)
    if best is not None and result.winner.number != best.number:
        wrong.append(f"the winner is {result.winner.number} and not {best.number}")
    if tracking_uri is not None:
        wrong += _differences(result, tracking_uri)
    return wrong


def _differences(result, tracking_uri):
    """Return in what MLflow differs from a study."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri)
    experiment = client.get_experiment_by_name(result.name)
    if experiment is None:
        return ["MLflow does not have the study"]
    runs, token = [], None
    while token or not runs:
        page = client.search_runs([experiment.experiment_id], max_results=1000, page_token=token)
        runs += page
        token = page.token
        if not token:
            break
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    wrong = [] if len(parents) == 1 else [f"the study has {len(parents)} runs"]
    numbers = Counter(int(r.data.tags["number"]) for r in runs if r not in parents)
    expected = Counter(record.number for record in result.records)
    if numbers != expected:
        wrong.append(f"MLflow lacks {expected - numbers} and has too many {numbers - expected}")
    by_number = {int(r.data.tags["number"]): r for r in runs if r not in parents}
    for record in result.records:
        if record.number in by_number:
            wrong += _differences_of_trial(client, record, by_number[record.number])
    best = result.winner
    for parent in parents:
        told = parent.data.metrics.get("best_score")
        if best is not None and told is not None and told != best.value:
            wrong.append(f"the study's run has the best score {told} and not {best.value}")
        counts = {
            "n_trials": result.n_trials,
            "n_complete": result.n_complete,
            "n_pruned": result.n_pruned,
            "n_failed": result.n_failed,
        }
        for name, count in counts.items():
            if name in parent.data.metrics and parent.data.metrics[name] != count:
                wrong.append(f"the study's run has {name} {parent.data.metrics[name]}: {count}")
    return wrong


def _differences_of_trial(client, record, run):
    where, wrong = f"the run of trial {record.number}", []
    if run.info.status != STATUS[record.state]:
        wrong.append(f"{where} is {run.info.status}, and the trial {record.state}")
    if run.data.tags.get("state") != record.state:
        wrong.append(f"{where} has the tag {run.data.tags.get('state')}: {record.state}")
    if run.info.end_time is not None and run.info.end_time < run.info.start_time:
        wrong.append(f"{where} ends before it starts")
    told = {name: str(value) for name, value in record.trial.params.items()}
    if run.data.params != told:
        wrong.append(f"{where} has {run.data.params}, and the trial {told}")
    wanted = {"score": [(r.step, r.value) for r in record.reports]}
    wanted["seconds"] = [(r.step, r.seconds) for r in record.reports]
    for i in range(max((len(r.fold_values) for r in record.reports), default=0)):
        wanted[f"score_fold_{i}"] = [(r.step, r.fold_values[i]) for r in record.reports]
    if record.best_report is not None:
        wanted["best_score"] = [(record.best_report.step, record.value)]
        wanted["best_step"] = [(record.best_report.step, float(record.best_report.step))]
    for name, steps in wanted.items():
        points = client.get_metric_history(run.info.run_id, name)
        found = sorted((point.step, _number(point.value)) for point in points)
        if found != [(step, _number(value)) for step, value in steps]:
            wrong.append(f"{where} has the {name} {found}, and the trial {steps}")
    return wrong


def _number(value):
    """Return a value that can be compared, as databases keep it."""
    return "nan" if math.isnan(value) else min(max(value, -LARGEST), LARGEST)
