"""Trials that misuse their process: each is its own doing, and all others are as without it."""

import pytest
from _compare import complaints
from _studies import ROUNDS

from hpo import load_result

STORAGE = "journal:///hpo.journal"

STUDY = """
import os, resource, signal, subprocess, sys, tempfile, threading, time, warnings
from contextlib import suppress

from sklearn.datasets import make_classification
from sklearn.linear_model import SGDClassifier

from hpo import Study, StudyData

X, y = make_classification(150, random_state=0)


def changes_folder():
    os.chdir(tempfile.mkdtemp())

def removes_its_folder():
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)

def prints():
    for stream in (sys.stdout, sys.stderr):
        for _ in range(100):
            print(10_000 * "x", file=stream)

def writes_files():
    for name in ("params.pt", "outcome.json", "model.pkl", "lock"):
        open(name, "w").write("mine")

def forks():
    if not os.fork():
        os._exit(0)

def forks_and_goes_on():
    os.fork()

def forks_and_raises():
    if not os.fork():
        raise ValueError("in the child")

def leaves_a_child():
    subprocess.Popen(["sleep", "5"])

def leaves_a_thread():
    threading.Thread(target=time.sleep, args=(1,)).start()

def masks_permissions():
    os.umask(0o077)

def handles_signals():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, lambda *args: None)

def makes_warnings_errors():
    warnings.simplefilter("error")

def sets_global_state():
    import locale
    import random
    import numpy
    import torch
    random.seed(0)
    numpy.random.seed(0)
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    numpy.seterr(all="raise")
    with suppress(locale.Error):
        locale.setlocale(locale.LC_ALL, "de_DE.UTF-8")

def is_in_another_time_zone():
    os.environ["TZ"] = "Pacific/Auckland"
    time.tzset()

def closes_stderr():
    sys.stderr.close()

def has_no_stdout():
    sys.stdout = None

def closes_stdout():
    if sys.stdout is not None:
        sys.stdout.close()

def closes_stdin():
    with suppress(OSError):
        os.close(0)

def closes_file_1():
    with suppress(OSError):
        os.close(1)

def exits():
    os._exit(7)

def crashes():
    os.kill(os.getpid(), signal.SIGSEGV)

def runs_out_of_memory():
    used = int(open("/proc/self/statm").read().split()[0]) * 4096
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (used + 50_000_000, most))
    try:
        bytearray(400_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

def is_ended_by_an_alarm():
    signal.alarm(1)
    time.sleep(5)

def closes_all_files():
    os.closerange(3, 1000)

def does_nothing():
    pass


ACTIONS = {name: globals()[name] for name in @kinds@}


class Hostile(SGDClassifier):
    def __init__(self, kind="does_nothing", random_state=0):
        super().__init__(random_state=random_state)
        self.kind = kind

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        self.n_calls = getattr(self, "n_calls", 0) + 1
        if self.n_calls == 2:
            ACTIONS[self.kind]()
        return super().partial_fit(X, y, classes=classes, sample_weight=sample_weight)


study = Study(
    name="faults",
    estimator=Hostile(),
    data=StudyData(X=X[:100], y=y[:100], X_test=X[100:], y_test=y[100:]),
    search_space={"kind": list(ACTIONS)},
    sampler="grid",
    n_trials=None,
    scoring="accuracy",
    cv=2,
    epochs=3,
    pruner="nop",
    storage="@storage@",
    tracking_uri="sqlite:///mlflow.db",
    fail_fast=None,
)
"""

HARMLESS = [
    "does_nothing",
    "prints",
    "writes_files",
    "forks",
    "forks_and_goes_on",
    "forks_and_raises",
    "leaves_a_child",
    "leaves_a_thread",
    "masks_permissions",
    "handles_signals",
    "makes_warnings_errors",
    "sets_global_state",
    "is_in_another_time_zone",
    "changes_folder",
    "removes_its_folder",
    "closes_stdin",
    "closes_stderr",
    "has_no_stdout",
    "closes_stdout",
    "closes_file_1",
]
DEADLY = {
    "exits": ("failed", "the worker process died: exit code 7"),
    "crashes": ("failed", "the worker process died: killed by signal 11"),
    "runs_out_of_memory": ("pruned", "out of memory in fold 0"),
    "is_ended_by_an_alarm": ("failed", "the worker process died: killed by signal 14"),
    "closes_all_files": ("failed", "the worker process died: "),
}


def fates(storage):
    """Return the state, reason and scores of each kind of trial."""
    result = load_result("faults", storage)
    return {
        r.trial.params["kind"]: (str(r.state), r.reason, [s.fold_values for s in r.reports])
        for r in result.records
        if not r.interrupted
    }


SHORT = [("serial", "sqlite:///hpo.db"), ("process:n_jobs=2", STORAGE)]
ALL = [*SHORT, ("serial", STORAGE), ("process:n_jobs=2", "sqlite:///hpo.db")]


@pytest.mark.parametrize(("executor", "storage"), SHORT if ROUNDS == 1 else ALL)
def test_a_trial_that_misuses_its_process_changes_no_other(
    executor, storage, commands, new_folder, monkeypatch, tally
):
    deadly = DEADLY if executor.startswith("process") else {}
    kinds = [*HARMLESS, *deadly]
    study = STUDY.replace("@kinds@", repr(kinds)).replace("@storage@", storage)
    folder = new_folder("study", study)
    monkeypatch.chdir(folder)
    command = commands.start("run", "study.py", "--executor", executor, folder=folder)
    code = command.wait()
    text = "\n".join(line for line in command.text.splitlines() if not line.startswith("xx"))
    assert code == 0, text
    assert "Traceback" not in text
    tracking = f"sqlite:///{folder / 'mlflow.db'}"
    wrong = complaints("faults", storage, n_trials=len(kinds), tracking_uri=tracking)
    tally(
        "trials that misuse their process", f"{executor}, {storage.partition(':')[0]}", len(kinds)
    )
    assert wrong == []
    found = fates(storage)
    for kind in HARMLESS:
        assert found[kind] == found["does_nothing"], kind
    for kind, (state, reason) in deadly.items():
        assert found[kind][0] == state, kind
        assert found[kind][1].startswith(reason), kind
    assert (folder / f"{storage.rpartition('/')[2]}.files").is_dir()
