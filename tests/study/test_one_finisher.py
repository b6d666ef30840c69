"""Of several drivers of a study one finishes it: the held-out part is opened once."""

import json
import textwrap
import time
from dataclasses import replace

import numpy as np
from sklearn.tree import DecisionTreeClassifier

from hpo import Study, StudyData, load_result, run_study
from hpo.space import SearchSpace
from hpo.storage.drivers import at_work
from hpo.storage.trial_store import TrialStore
from hpo.study.finisher import Elsewhere, finishing
from hpo.study.opening import Allowed
from hpo.study.prepared import PreparedStudy
from hpo.trial import Report, TrialRecord, TrialState

SPACE = SearchSpace.load({"x": {"type": "float", "low": 0.0, "high": 1.0}})

DRIVERS = """
    import json, os, sys, time
    import numpy as np
    from sklearn.base import ClassifierMixin, BaseEstimator
    from hpo.data import StudyData
    from hpo.study import Study, run_study

    FOLDER = sys.argv[1]

    class Model(ClassifierMixin, BaseEstimator):
        def __init__(self, x=0.5):
            self.x = x
        def fit(self, X, y):
            if len(X) == 60:  # all rows but the held-out ones: a refit
                with open(f"{FOLDER}/refits", "a") as file:
                    file.write(f"{os.getpid()}\\n")
                time.sleep(0.5)
                if os.path.exists(f"{FOLDER}/die"):
                    os.remove(f"{FOLDER}/die")
                    os._exit(9)
            time.sleep(0.01)
            self.classes_ = np.unique(y)
            return self
        def predict(self, X):
            return (X[:, 0] > self.x).astype(int)

    rng = np.random.default_rng(0)
    X = rng.random((80, 2))
    y = (X[:, 0] > 0.3).astype(int)
    study = Study(
        name="s", estimator=Model(),
        data=StudyData(X=X[:60], y=y[:60], X_test=X[60:], y_test=y[60:]),
        search_space={"x": {"type": "float", "low": 0.0, "high": 1.0}}, n_trials=12, cv=2,
        storage=f"journal:///{FOLDER}/s.log", executor="serial", tracker="null", sampler="random",
    )
    gate_out, gate_in = os.pipe()
    for i in range(3):
        if not os.fork():
            os.close(gate_in)
            os.read(gate_out, 1)
            result = run_study(study, reuse_refit=True)
            facts = [result.finished_by, result.test_score, result.estimator is not None,
                     list(result.notes)]
            with open(f"{FOLDER}/result_{i}", "w") as file:
                json.dump(facts, file)
            os._exit(0)
    os.close(gate_in)
    codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(3)]
    last = run_study(study, reuse_refit=True)
    print(json.dumps([codes, last.n_trials, last.test_score, last.finished_by]))
"""


SEARCHES = """
    search = HPOSearchCV(
        Model(), {"x": {"type": "float", "low": 0.0, "high": 1.0}}, n_trials=8, cv=2,
        storage=f"journal:///{FOLDER}/s.log", study_name="s", executor="serial", sampler="random",
        random_state=0,
    )
    gate_out, gate_in = os.pipe()
    for i in range(3):
        if not os.fork():
            os.close(gate_in)
            os.read(gate_out, 1)
            search.fit(X[:60], y[:60])
            facts = [search.result_.finished_by, search.best_estimator_.x, search.refit_time_ > 0]
            with open(f"{FOLDER}/result_{i}", "w") as file:
                json.dump(facts, file)
            os._exit(0)
    os.close(gate_in)
    print(json.dumps([os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(3)]))
"""


def run_drivers(commands, folder):
    """Run three drivers at once, and one more when they have ended."""
    done = commands.python(DRIVERS, folder, folder=folder)
    assert done.returncode == 0, done.stderr
    results = [json.loads(path.read_text()) for path in sorted(folder.glob("result_*"))]
    return results, json.loads(done.stdout), (folder / "refits").read_text().split()


def test_one_of_three_drivers_refits_the_winner_and_the_others_say_who(tmp_path, commands):
    results, (codes, n_trials, test_score, finished_by), refits = run_drivers(commands, tmp_path)
    assert codes == [0, 0, 0]
    assert (n_trials, finished_by) == (12, "")
    assert len(refits) == 1
    finishers = [r for r in results if not r[0]]
    assert [(r[1], r[2]) for r in finishers] == [(test_score, True)]
    for other, _, fitted, notes in results:
        if other:
            assert not fitted
            assert other.startswith("process ")
            assert any("finishes the study" in note for note in notes)


def test_of_searches_that_share_a_study_each_refits_and_one_writes_the_result(tmp_path, commands):
    head = DRIVERS.partition("    study = Study(")[0]
    code = textwrap.dedent(head.replace("import Study, run_study", "import run_study") + SEARCHES)
    code = code.replace("import numpy as np", "import numpy as np\nfrom hpo import HPOSearchCV")
    done = commands.python(code, tmp_path, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [0, 0, 0]
    results = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("result_*"))]
    assert len((tmp_path / "refits").read_text().split()) == 3
    assert all(refitted for _, _, refitted in results)
    assert [by for by, _, _ in results].count("") == 1
    written = (tmp_path / "s.log").read_text()
    assert written.count('"hpo:refit":') == written.count('"hpo:results":') == 1
    winner = load_result("s", f"journal:///{tmp_path}/s.log").best_params
    assert winner["x"] in [x for by, x, _ in results if not by]


def test_a_refit_whose_driver_died_is_left_to_the_next_run(tmp_path, commands):
    (tmp_path / "die").touch()
    _, (codes, n_trials, test_score, finished_by), refits = run_drivers(commands, tmp_path)
    assert sorted(codes) == [0, 0, 9]
    assert len(refits) == 2
    assert (n_trials, finished_by) == (12, "")
    assert test_score is not None


def test_a_study_is_finished_by_one_driver_at_a_time(tmp_path):
    url = f"journal:///{tmp_path}/s.log"
    one, two = (TrialStore("s", SPACE, url) for _ in range(2))
    with at_work(one.driver), at_work(two.driver):
        with finishing(one) as other:
            assert other == ""
            with finishing(two) as holder:
                assert holder == one.driver
        with finishing(two) as other:
            assert other == ""
    with finishing(one), finishing(two) as other:  # the first one is not at work: it is dead
        assert other == ""


def test_trials_elsewhere_are_named_and_those_without_a_sign_told(tmp_path, monkeypatch):
    url = f"journal:///{tmp_path}/s.log"
    here, there = (TrialStore("s", SPACE, url) for _ in range(2))
    assert not Elsewhere(here)
    there.ask()
    assert not Elsewhere(here)  # its driver is dead
    with at_work(there.driver):
        elsewhere = Elsewhere(here)
        assert elsewhere
        assert "Trial 0 still run elsewhere" in elsewhere.note
        assert elsewhere.silent_trials == ()
    host, _, rest = there.driver.partition("/")
    monkeypatch.setattr("hpo.storage.drivers.socket.gethostname", lambda: f"not-{host}")
    here = TrialStore("s", SPACE, url)  # now on another machine
    assert Elsewhere(here).silent_trials == ()  # it has just begun
    there.set_attr(f"alive:{there.driver}", 1.0)
    assert not Elsewhere(here)
    there.set_attr(f"alive:{there.driver}", time.time() - 600)
    silent = Elsewhere(here)
    assert silent.silent_trials == (0,)
    assert f"no sign of process {rest.partition('@')[0]} on {host} for 10 min" in silent.note


def test_what_another_driver_ends_at_the_last_moment_can_win(tmp_path, monkeypatch):
    """Between this driver's last look and its end, another one ends the best trial of all."""
    rng = np.random.default_rng(0)
    X = rng.random((60, 2))
    study = Study(
        name="s",
        estimator=DecisionTreeClassifier(random_state=0),
        data=StudyData(X=X, y=(X[:, 0] > 0.3).astype(int)),
        search_space={"min_samples_leaf": {"type": "int", "low": 1, "high": 29}},
        n_trials=3,
        cv=2,
        storage=f"journal:///{tmp_path}/s.log",
        tracker="null",
    )
    prepared = PreparedStudy(study)
    other = prepared.begin(fresh=False, allowed=Allowed(), tracked=False)
    trial = other.ask()
    record = TrialRecord(trial, max_steps=1, started=time.time())
    other.begin(record)

    class Late(Elsewhere):
        def __init__(self, store):
            report = Report(trial.number, 1, 1.0, (1.0, 1.0))
            other.report(report)
            other.tell(replace(record, reports=(report,), state=TrialState.COMPLETE))
            super().__init__(store)

    monkeypatch.setattr("hpo.study.runner.Elsewhere", Late)
    with at_work(other.driver):
        result = run_study(study)
    assert (result.finished_by, result.n_trials) == ("", 3)
    assert result.winner.number == trial.number
    assert result.best_score == 1.0
    assert other.get_attr("refit")["number"] == trial.number
    assert "1 of 3 trials" in result.uncorrected  # whose predictions nobody has kept
