"""A pruner, sampler, executor, backend, tracker and analysis of a user's own, in one file."""

import csv
from pathlib import Path

from matplotlib.figure import Figure
from optuna.samplers import BaseSampler, RandomSampler

from hpo.analyses import BaseAnalysis
from hpo.backends import BaseBackend
from hpo.executors import BaseExecutor, Ended, Failed, Reported, RunningTrial
from hpo.pruners import BasePruner, PruneDecision
from hpo.trackers import BaseTracker, Written
from hpo.trial import TrialState


class PlateauPruner(BasePruner):
    """Stops a trial that has not become better for ``patience`` steps."""

    def __init__(self, patience=5):
        self.patience = patience

    def decide(self, record, peers):
        values = [report.value for report in record.reports if report.value == report.value]
        since = len(values) - 1 - values.index(max(values)) if values else 0
        if since < self.patience:
            return PruneDecision(False)
        return PruneDecision(True, f"no better score for {since} steps")


class OwnSampler(BaseSampler):
    """Draws at random, and takes the first choice of each parameter that has choices."""

    def __init__(self, seed=0):
        self._random = RandomSampler(seed=seed)

    def infer_relative_search_space(self, study, trial):
        return {}

    def sample_relative(self, study, trial, search_space):
        return {}

    def sample_independent(self, study, trial, param_name, param_distribution):
        return self._random.sample_independent(study, trial, param_name, param_distribution)


class OneStepExecutor(BaseExecutor):
    """Makes one step of each of ``n`` trials in turn."""

    def __init__(self, objective, n=2):
        super().__init__(objective)
        self.n = n
        self.running = {}

    @property
    def capacity(self):
        return self.n

    def start(self, trials):
        for trial in trials:
            self.running[trial.number] = RunningTrial(
                trial.number, lambda trial=trial: self.objective.run(trial)
            )

    def poll(self, timeout=0.1):
        events = [running.step() for running in self.running.values()]
        self.stop([event.number for event in events if not isinstance(event, Reported)])
        return events

    def stop(self, numbers):
        for number in numbers:
            if number in self.running:
                self.running.pop(number).close()

    def close(self):
        self.stop(list(self.running))


class SequentialBackend(BaseBackend):
    """Runs one trial after the other."""

    def run(self, trials, executor):
        try:
            while not trials.stop_reason:
                if not trials.running:
                    trial = trials.ask()
                    if trial is None:
                        return ""
                    executor.start([trial])
                for event in executor.poll():
                    self._take(event, trials, executor)
                trials.heartbeat()
            return trials.stop_reason
        finally:
            executor.stop([record.number for record in trials.running])
            trials.interrupt_all()

    def _take(self, event, trials, executor):
        match event:
            case Reported(report):
                executor.stop(trials.report([report]))
            case Ended(number):
                trials.end(number)
            case Failed(number, reason, error):
                trials.end(number, TrialState.FAILED, reason, error, event.cause)


class CSVTracker(BaseTracker):
    """Writes a row for each report, and one for the end of each trial with its mark."""

    def __init__(self, path="trials.csv"):
        self.path = str(Path(path).absolute())

    @property
    def target(self):
        return self.path

    def open(self, study):
        self.rows = []
        if Path(self.path).exists():
            with Path(self.path).open(newline="") as file:
                self.rows = list(csv.reader(file))
        marks = {int(row[0]): row[3] for row in self.rows if row[1] == ""}
        return Written(trials=marks)

    def write_study(self, study):
        pass

    def write_trials(self, changes):
        for change in changes:
            number = str(change.record.number)
            self.rows = [row for row in self.rows if row[0] != number]
            for report in change.record.reports:
                self.rows.append([number, str(report.step), repr(report.value), ""])
            self.rows.append([number, "", repr(change.record.value), change.mark])
        new = Path(f"{self.path}.new")
        with new.open("w", newline="") as file:
            csv.writer(file).writerows(self.rows)
        new.replace(self.path)


class ClassCounts(BaseAnalysis):
    """Counts how often each class is predicted."""

    title = "Predicted classes"

    def compute(self, winner):
        X, _ = winner.test_part()
        predicted = winner.estimator.predict(X)
        return {
            "counts": {
                label: int((predicted == value).sum())
                for label, value in zip(winner.labels(), winner.classes, strict=True)
            }
        }

    def summarize(self, data):
        return [(label, str(n)) for label, n in data["counts"].items()]

    def plot(self, data):
        figure = Figure()
        figure.add_subplot().bar(list(data["counts"]), list(data["counts"].values()))
        return figure
