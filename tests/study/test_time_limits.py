"""A trial, or a study, whose time is over in the middle of a step.

The studies run as processes of their own, forks of one that has loaded hpo: signals and the end of
the process are what is tested. No test measures a time; what does not end is killed by `TIMEOUT`.
"""

import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from sklearn.dummy import DummyClassifier
from skorch import NeuralNetClassifier
from torch import nn

from hpo import HPOSearchCV, Study, StudyData
from hpo._time_limits import TimeIsUp, time_limit
from hpo.exceptions import StudyError
from hpo.storage.stored_study import StoredStudy
from hpo.study.prepared import PreparedStudy
from hpo.trial import Cause, TrialState

pytestmark = pytest.mark.slow

TIMEOUT = 250
"""Seconds after which a study that still hangs is killed; the hangs last longer."""

STUDY = """
import hashlib, os, signal, subprocess, sys, threading, time
import numpy as np
from pathlib import Path
from sklearn.linear_model import SGDClassifier
from hpo import Study, StudyData

def hang(how):
    if how == "sleep":
        time.sleep(1000)
    if how == "busy":
        while True:
            pass
    if how == "lock":
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()
    if how == "stubborn":  # catches what interrupts it, once
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            time.sleep(1000)
        except BaseException:
            time.sleep(1000)
    if how == "endless":  # catches whatever interrupts it
        while True:
            try:
                time.sleep(1000)
            except BaseException:
                pass
    if how == "child":
        subprocess.run([sys.executable, "-c", "import time; time.sleep(1000)"])
    if how == "fork":
        if not os.fork():
            Path(f"grandchild_{os.getpid()}").touch()
            time.sleep(1000)
        os.wait()
    if how == "call":  # a call of C that lets other threads run
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)
    if how == "gil":  # one that does not
        pow(3, 10**9)

class Stuck(SGDClassifier):
    def __init__(self, how="", random_state=0):
        super().__init__(random_state=random_state)
        self.how = how
        self.n_steps = 0
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        self.n_steps += 1
        if self.n_steps == 2:
            hang(self.how)
        return super().partial_fit(X, y, classes)

rng = np.random.default_rng(0)
X = rng.random((40, 2))
study = Study(
    name="stuck", estimator=Stuck(), data=StudyData(X=X, y=(X[:, 0] > 0.5).astype(int)),
    search_space={"how": ["none", *@HOW@, "nothing"]}, sampler="grid", cv=2, epochs=3,
    tracker="null", pruner=None, storage="journal:///s.journal",
)
"""

NO_REPORT = "import hpo.study.artifacts; hpo.study.artifacts._report = lambda *args: {}"
"""Drawing it is most of what the study takes of the processor."""

TIMED_OUT = TrialState.FAILED, Cause.TIMEOUT
COMPLETE = TrialState.COMPLETE, None
INTERRUPTED = TrialState.INTERRUPTED, Cause.BUDGET
REASON = "epoch 2: not over after 2 s of training, the time that a trial may take (trial_timeout)"


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def run(commands, tmp_path):
    """Return a function that runs a study in which the trials but the first and the last one hang.

    It checks the exit code and returns what the command has written.
    """

    def until_it_ends(how, *options, code=0):
        Path("stuck.py").write_text(STUDY.replace("@HOW@", repr(list(how))))
        command = commands.start("run", "stuck.py", *options, folder=tmp_path, setup=NO_REPORT)
        assert command.wait(TIMEOUT) == code, command.text
        return command.text

    return until_it_ends


def records(name="stuck"):
    return StoredStudy(name, "journal:///s.journal").records(running=True)


def ends():
    """Return how the last trial of each point has ended."""
    return {r.trial.params["how"]: (r.state, r.cause) for r in records()}


def wait_for_the_end_of_all_processes():
    """Wait until no other process works in this folder."""
    end = time.monotonic() + TIMEOUT
    while left := [
        process
        for process in psutil.process_iter(["cwd", "status"])
        if process.info["cwd"] == str(Path.cwd())
        and process.info["status"] != psutil.STATUS_ZOMBIE
        and process.pid != psutil.Process().pid
    ]:
        assert time.monotonic() < end, left
        time.sleep(0.1)


HANGS_OF_PYTHON = ["sleep", "busy", "lock", "stubborn", "child"]


@pytest.mark.parametrize(
    ("executor", "hangs"),
    [
        ("serial", HANGS_OF_PYTHON),
        ("process:n_jobs=2", [*HANGS_OF_PYTHON, "endless", "call", "gil", "fork"]),
        ("fused:n_jobs=2", ["sleep"]),
        ("auto:n_jobs=2", ["call"]),
    ],
)
def test_a_trial_over_its_time_has_failed_and_the_study_goes_on(executor, hangs, run):
    run(hangs, "--trial-timeout", "2", "--executor", executor)
    assert ends() == {"none": COMPLETE, "nothing": COMPLETE, **dict.fromkeys(hangs, TIMED_OUT)}
    late = [r for r in records() if r.cause is Cause.TIMEOUT]
    assert {r.reason for r in late} == {REASON}
    assert {r.last_step for r in late} == {1}
    assert len(records()) == 2 + len(hangs)  # none was tried again
    wait_for_the_end_of_all_processes()


def test_ray_ends_a_trial_over_its_time(run):
    backend = "ray:max_concurrent=2"
    run(["sleep", "gil"], "--trial-timeout", "2", "--backend", backend)
    late = {"sleep": TIMED_OUT, "gil": TIMED_OUT}
    assert ends() == {"none": COMPLETE, "nothing": COMPLETE, **late}
    assert {r.reason for r in records() if r.cause is Cause.TIMEOUT} == {REASON}
    assert len(records()) == 4
    wait_for_the_end_of_all_processes()


@pytest.mark.parametrize(("executor", "seconds"), [("serial", 5), ("process:n_jobs=2", 20)])
def test_a_study_ends_within_a_step_and_goes_on_with_it(executor, seconds, run):
    told = run(["sleep"], f"--timeout={seconds}", "--executor", executor)
    assert f"the time budget of {seconds} s is spent" in told
    assert ends()["sleep"] == INTERRUPTED
    assert [r.last_step for r in records() if r.interrupted] == [1]
    run(["sleep"], "--trial-timeout", "2", "--executor", "process")
    assert ends() == {"none": COMPLETE, "nothing": COMPLETE, "sleep": TIMED_OUT}


@pytest.mark.parametrize(
    ("how", "option", "end"),
    [
        ("call", "--trial-timeout=2", TIMED_OUT),
        ("call", "--timeout=5", INTERRUPTED),
        ("endless", "--trial-timeout=2", TIMED_OUT),
    ],
)
def test_what_cannot_be_interrupted_ends_the_process_and_loses_nothing(how, option, end, run):
    told = run([how], option, "--executor", "serial", code=124)
    assert "is in a call that Python cannot interrupt" in told
    assert "--executor process" in told
    assert "Go on with\n" in told
    assert ends()[how] == end
    if end == INTERRUPTED:  # it is tried again
        run([how], "--trial-timeout", "2", "--executor", "process")
        assert ends() == {"none": COMPLETE, "nothing": COMPLETE, how: TIMED_OUT}


def test_a_call_that_lets_no_thread_run_ends_the_process_too(run):
    told = run(["gil"], "--trial-timeout", "1", "--executor", "serial", code=1)
    assert "Timeout (0:00:2" in told
    assert "in hang" in told  # where it was
    run(["gil"], "--trial-timeout", "2", "--executor", "process")
    assert ends() == {"none": COMPLETE, "nothing": COMPLETE, "gil": TIMED_OUT}


def test_a_trial_timeout_is_refused_where_nothing_can_be_interrupted():
    X, y = np.zeros((12, 2)), [0, 1] * 6
    errors = []

    def fit(executor):
        search = HPOSearchCV(
            DummyClassifier(),
            {"strategy": ["prior"]},
            n_trials=1,
            trial_timeout=60,
            executor=executor,
            cv=2,
        )
        try:
            search.fit(X, y)
        except StudyError as error:
            errors.append(str(error))

    for executor in ("serial", "fused:n_jobs=1", "process:n_jobs=1"):
        thread = threading.Thread(target=fit, args=[executor])
        thread.start()
        thread.join()
    assert len(errors) == 2
    assert all("Choose executor='process'" in error for error in errors)
    fit("serial")
    assert len(errors) == 2


def test_code_that_catches_it_is_interrupted_again():
    def catch_and_sleep():
        with pytest.raises(TimeIsUp):
            time.sleep(60)
        time.sleep(60)

    with pytest.raises(TimeIsUp), time_limit(time.monotonic() + 0.1):
        catch_and_sleep()


def test_what_returns_in_time_is_not_interrupted():
    with time_limit(time.monotonic() + 0.2):
        pass
    time.sleep(0.3)


class Endless(nn.Linear):
    """Never returns."""

    def forward(self, X):
        time.sleep(1000)


def test_a_rehearsal_takes_no_longer_than_a_trial():
    net = NeuralNetClassifier(
        Endless,
        module__in_features=2,
        module__out_features=2,
        max_epochs=1,
        train_split=None,
        verbose=0,
    )
    study = Study(
        name="endless",
        estimator=net,
        data=StudyData(X=np.zeros((12, 2), np.float32), y=np.array([0, 1] * 6)),
        search_space={"lr": [0.1, 0.2]},
        cv=2,
        trial_timeout=0.5,
    )
    search = PreparedStudy(study).search
    search.rehearse()
    (note,) = [note for note in search.notes if "rehearsal" in note]
    assert "was not over after 0.5 s and was left out" in note
