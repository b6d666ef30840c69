"""What a callback writes belongs to one fold of one trial; the user's files are the refit's."""

import csv
import io
import pickle
from functools import cache
from pathlib import Path
from typing import ClassVar

import cloudpickle
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from skorch.callbacks import (
    Callback,
    Checkpoint,
    LoadInitState,
    TensorBoard,
    TrainEndCheckpoint,
)
from torch import nn

from hpo.exceptions import StudyError
from hpo.training._isolation import isolate
from hpo.training._paths import path_kind
from hpo.training.callbacks import copy_of
from hpo.training.files import FoldFiles
from hpo.training.objective import Objective
from hpo.training.refit import refit
from hpo.trial import Trial

N = 60
RNG = np.random.default_rng(0)
X = RNG.normal(size=(2 * N, 4)).astype("float32")
SITE = np.arange(2 * N) // N
Y = ((X[:, 0] > 0) ^ (SITE == 1)).astype("int64")
"""At the second site the label means the opposite: the other fold's weights are wrong here."""

SPLITS = [
    (np.arange(0, 40), np.arange(40, N)),
    (np.arange(N, N + 40), np.arange(N + 40, 2 * N)),
]


class Seeded(nn.Module):
    """The same weights to begin with, wherever it is made."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, X):
        return self.layers(X)


class Unsettled(Callback):
    """Makes the last epochs the worst: who keeps the best weights has others at the end."""

    def on_epoch_begin(self, net, **kwargs):
        rate = 0.3 if len(net.history) < 5 else -0.3
        for group in net.optimizer_.param_groups:
            group["lr"] = abs(rate)
            group["maximize"] = rate < 0


class Net(NeuralNetClassifier):
    """A net of the user's, with a callback of its own."""

    own = ()

    @property
    def _default_callbacks(self):
        return [*super()._default_callbacks, *((name, make()) for name, make in self.own)]


def net(*callbacks, cls=NeuralNetClassifier, **settings):
    known = {
        "criterion": nn.CrossEntropyLoss,
        "max_epochs": 7,
        "lr": 0.5,
        "batch_size": 5,
        "train_split": None,
        "verbose": 0,
        "callbacks": [("unsettled", Unsettled()), *callbacks],
    }
    return cls(Seeded, **{**known, **settings})


def best(**settings):
    return Checkpoint(monitor="train_loss_best", load_best=True, **settings)


class OwnDefault(Net):
    """Has a checkpoint among its default callbacks."""

    own = (("keep", best),)


class SaveBest(Callback):
    """A callback as users write it."""

    def __init__(self, path):
        self.path = path
        self.target_ = Path(path).with_suffix(".pt")  # derived from a parameter

    def on_train_begin(self, net, **kwargs):
        self.best_ = float("inf")

    def on_epoch_end(self, net, **kwargs):
        loss = net.history[-1, "train_loss"]
        if loss < self.best_:
            self.best_ = loss
            torch.save(net.module_.state_dict(), self.target_)

    def on_train_end(self, net, **kwargs):
        net.module_.load_state_dict(torch.load(self.target_))


class Logger(Callback):
    """Adds a line an epoch to a file, and takes the best of its lines for the result."""

    def __init__(self, log_dir="logs", name="log.csv"):
        self.log_dir = log_dir
        self.name = name

    def on_train_begin(self, net, **kwargs):
        Path(self.log_dir).mkdir(exist_ok=True)

    def on_epoch_end(self, net, **kwargs):
        path = Path(self.log_dir, self.name)
        with path.open("a", newline="") as file:
            csv.writer(file).writerow([net.history[-1, "train_loss"]])
        net.history.record("n_lines", len(path.read_text().splitlines()))


class WithLog(NeuralNetClassifier):
    """A net that writes by itself."""

    def __init__(self, *args, log_path="net.log", **kwargs):
        self.log_path = log_path
        super().__init__(*args, **kwargs)

    def run_single_epoch(self, *args, **kwargs):
        with Path(self.log_path).open("a") as file:
            file.write("epoch\n")
        super().run_single_epoch(*args, **kwargs)
        self.history.record("n_lines", len(Path(self.log_path).read_text().splitlines()))


def last(estimator, params=None, **settings):
    """Return the last report of a trial."""
    objective = Objective(estimator, X, Y, cv=SPLITS, **settings)
    return list(objective.run(Trial(0, params or {}, 1)))[-1]


def alone(estimator, folder, monkeypatch, params=None):
    """Return the scores of the folds, each fitted in an empty folder of its own."""
    scores = []
    for i, (train, valid) in enumerate(SPLITS):
        own = folder / f"alone_{i}"
        own.mkdir()
        monkeypatch.chdir(own)
        for name in ("weights", "sub", "logs"):
            (own / name).mkdir()
        fitted = clone(estimator).set_params(**params or {}).fit(X[train], Y[train])
        scores.append(fitted.score(X[valid], Y[valid]))
    return tuple(scores)


@cache
def without():
    return last(net())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the user's current folder."""
    here = tmp_path / "user"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


CHECKPOINTS = {
    "default": lambda: net(("keep", best())),
    "unnamed": lambda: net(best()),
    "one folder": lambda: net(("keep", best(dirname="kept"))),
    "folder above": lambda: net(("keep", best(dirname="../above"))),
    "subfolder": lambda: net(("keep", best(f_params="weights/best.pt", f_optimizer=None))),
    "prefix": lambda: net(("keep", best(fn_prefix="own_", dirname="kept"))),
    "prefix with a folder": lambda: net(("keep", best(fn_prefix="sub/own_"))),
    "pickle": lambda: net(("keep", best(f_pickle="whole.pkl"))),
    "numbered": lambda: net(("keep", best(f_params="at_{last_epoch[epoch]}.pt"))),
    "path": lambda: net(("keep", best(f_params=Path("kept.pt")))),
    "two": lambda: net(("keep", best(dirname="a")), ("more", best(dirname="b"))),
    "class": lambda: net(
        ("keep", Checkpoint),
        callbacks__keep__monitor="train_loss_best",
        callbacks__keep__load_best=True,
        callbacks__keep__dirname="kept",
    ),
    "set on the net": lambda: net(("keep", best(dirname="a")), callbacks__keep__dirname="b"),
    "default callback": lambda: net(cls=OwnDefault),
    "pipeline": lambda: Pipeline([("scale", StandardScaler()), ("net", net(("keep", best())))]),
    "nested pipeline": lambda: Pipeline([("in", Pipeline([("net", net(("keep", best())))]))]),
    "the user's": lambda: net(("keep", SaveBest("best.pt"))),
    "the user's, as Path": lambda: net(("keep", SaveBest(Path("weights/best")))),
}


@pytest.mark.parametrize("make", CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_each_fold_ends_with_its_own_best_weights(make, folder, tmp_path, monkeypatch):
    estimator = make()
    report = last(estimator)
    assert list(folder.rglob("*")) == []
    assert not (tmp_path / "above").exists()
    assert report.fold_values == alone(estimator, tmp_path, monkeypatch)
    assert min(report.fold_values) >= 0.7
    assert max(without().fold_values) < 0.7  # or it would show nothing


def test_an_absolute_folder_and_files(folder, tmp_path):
    kept = tmp_path / "absolute"
    for checkpoint in (best(dirname=str(kept)), best(f_params=str(kept / "best.pt"))):
        assert min(last(net(("keep", checkpoint))).fold_values) > 0.8
        assert not kept.exists()


NAMES = [
    ("dirname", "", "folder"),
    ("log_dir", "runs", "folder"),
    ("outdir", "runs", "folder"),
    ("path", "weights", "file"),
    ("save_to", "weights", "file"),
    ("logfile", "log", "file"),
    ("target", "best.pt", "file"),
    ("target", Path("best"), "file"),
    ("f_best", "a/b", "file"),
    ("anything", "{}/absolute", "file"),
    ("anything", "kept/there", "file"),
    ("anything", "./kept", "folder"),
    # what is no path, but for which a path would be wrong without a word
    ("path", "encoder.layers.0", ""),
    ("names", "encoder.weight", ""),
    ("monitor", "valid_loss", ""),
    ("monitor", "train/loss", ""),
    ("profile", "fast", ""),
    ("f_average", "macro", ""),
    ("path", "", ""),
    ("path", None, ""),
    ("anything", "kept", ""),
    ("anything", "two\nlines.txt", ""),
    ("anything", "/no/such/place", ""),
    ("url", "https://example.org/data.zip", ""),
]


@pytest.mark.parametrize(("name", "value", "kind"), NAMES)
def test_what_is_a_path_and_what_is_not(name, value, kind, folder):
    (folder / "kept").mkdir()
    (folder / "kept" / "there").touch()
    value = value.format(folder) if isinstance(value, str) else value
    assert path_kind(name, value, folder) == kind


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("callbacks__keep", best(dirname="other")),
        ("callbacks__keep__dirname", "other"),
        ("callbacks__unsettled", None),
        ("callbacks", [("unsettled", Unsettled()), ("keep", best(dirname="other"))]),
        ("net", net(("keep", best(dirname="other")))),
    ],
)
def test_what_a_search_sets_is_moved_too(name, value, folder):
    estimator, prefix = net(("keep", best(dirname="kept"))), ""
    if name == "net":
        estimator = Pipeline([("net", estimator)])
    report = last(estimator, {prefix + name: value})
    assert min(report.fold_values) > 0.8
    assert list(folder.rglob("*")) == []


def test_the_files_of_one_trial_are_not_those_of_the_next(folder):
    estimator = net(("log", Logger()))
    objective = Objective(estimator, X, Y, cv=SPLITS)
    for number in (0, 1, 0):
        reports = list(objective.run(Trial(number, {}, 1)))
        assert [r.metrics["n_lines"] for r in reports] == [(n, n) for n in range(1, 8)]
    assert list(folder.rglob("*")) == []


def test_paths_in_lists_and_mappings(folder):
    class Several(Callback):
        def __init__(self, paths, settings):
            self.paths = paths
            self.settings = settings

        def on_epoch_end(self, net, **kwargs):
            for path in (*self.paths, self.settings["log_path"]):
                with Path(path).open("a") as file:
                    file.write("line\n")

    callback = Several(["a", Path("b")], {"log_path": "c", "n": 3, "more": ("d.txt",)})
    last(net(callback))
    assert list(folder.rglob("*")) == []
    copied = copy_of(net(callback))
    isolate(copied, FoldFiles(lambda: folder / "fold"))
    own = copied.callbacks[-1]
    assert own.paths == [str(folder / "fold" / "a"), folder / "fold" / "b"]
    assert own.settings["n"] == 3
    assert own.settings["more"] == (str(folder / "fold" / "d.txt"),)


def test_a_net_that_writes_by_itself(folder):
    for settings in ({}, {"log_path": folder / "x.log"}):
        report = last(net(cls=WithLog, **settings))
        assert report.metrics["n_lines"] == (14.0, 14.0)  # skorch calls it for the validation too
    assert list(folder.rglob("*")) == []


@pytest.mark.parametrize("callback", [best(dirname="kept"), SaveBest("best.pt"), Logger()])
def test_the_refit_alone_writes_where_the_user_says(callback, folder):
    estimator = net(("own", callback))
    last(estimator)
    refit(estimator, {}, X, Y, n_steps=2, seed=0, own_files=False)
    assert list(folder.rglob("*")) == []
    refit(estimator, {}, X, Y, n_steps=2, seed=0)
    assert [path for path in folder.rglob("*") if path.is_file()]


def test_files_of_the_users_are_read_and_stay_as_they_are(folder):
    (folder / "logs").mkdir()
    (folder / "logs" / "log.csv").write_text("1\n2\n3\n")
    report = last(net(("log", Logger())))
    assert report.metrics["n_lines"] == (10.0, 10.0)  # as in a fit in this folder
    assert (folder / "logs" / "log.csv").read_text() == "1\n2\n3\n"


# -- warm starts -----------------------------------------------------------------------------


def trained(checkpoint, **settings):
    """Leave behind what an earlier training wrote."""
    return net(("keep", checkpoint), max_epochs=3, **settings).fit(X[:40], Y[:40])


@pytest.mark.parametrize("way", ["read only", "shared", "equal", "at the end", "numbered"])
def test_a_warm_start_reads_the_users_files(way, folder, tmp_path, monkeypatch):
    settings = {"dirname": "before", "monitor": "train_loss_best", "f_optimizer": None}
    if way == "numbered":
        settings["f_params"] = "at_{last_epoch[epoch]}.pt"
    make = TrainEndCheckpoint if way == "at the end" else Checkpoint
    if way == "at the end":
        del settings["monitor"]
    checkpoint = make(**settings)
    trained(checkpoint)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert before
    load = LoadInitState(make(**settings) if way == "equal" else checkpoint)
    also = [("load", load)] if way == "read only" else [("keep", checkpoint), ("load", load)]
    estimator = net(callbacks=also, max_epochs=1, lr=1e-9)
    report = last(estimator)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    cold = last(net(callbacks=[], max_epochs=1, lr=1e-9))
    warm = trained(make(**{**settings, "dirname": str(tmp_path / "again")}))
    expected = tuple(warm.score(X[valid], Y[valid]) for _, valid in SPLITS)
    assert report.metrics["train_loss"] != cold.metrics["train_loss"]
    assert report.fold_values == expected != cold.fold_values


def test_what_is_shared_stays_shared(folder):
    checkpoint = best()
    estimator = net(("load", LoadInitState(checkpoint)), ("keep", checkpoint))
    copied = copy_of(estimator)
    for _ in range(2):  # a second time changes nothing
        isolate(copied, FoldFiles(lambda: folder / "fold"))
        held = dict(copied.callbacks)
        assert held["load"].checkpoint is held["keep"]
        assert held["keep"].dirname == str(folder / "fold")
        assert held["keep"] is not checkpoint
    assert checkpoint.dirname == ""
    load, keep = copy_of([("load", LoadInitState(checkpoint)), ("keep", checkpoint)])
    assert load[1].checkpoint is keep[1] is not checkpoint


def test_a_callback_that_holds_others(folder):
    class Group(Callback):
        def __init__(self, members):
            self.members = members

        def initialize(self):
            for member in self.members:
                member.initialize()
            return self

        def on_epoch_end(self, net, **kwargs):
            for member in self.members:
                member.on_epoch_end(net, **kwargs)

        def on_train_end(self, net, **kwargs):
            for member in self.members:
                member.on_train_end(net, **kwargs)

    report = last(net(("group", Group([best(), Logger()]))))
    assert min(report.fold_values) > 0.8


# -- TensorBoard -------------------------------------------------------------------------------


class SummaryWriter:
    """As much of torch's one as skorch uses; it holds what cannot be copied or carried."""

    opened: ClassVar[list[str]] = []

    def __init__(self, log_dir=None, flush_secs=120):
        self.log_dir = log_dir
        self.flush_secs = flush_secs
        self.opened.append(log_dir)
        Path(log_dir).mkdir(parents=True, exist_ok=True)
        self.file = Path(log_dir, "events").open("a")  # noqa: SIM115

    def add_scalar(self, tag, scalar_value, global_step):
        self.file.write(f"{tag} {global_step} {self.flush_secs}\n")

    def close(self):
        self.file.close()


class TwoWords(TensorBoard):
    """Says something of its own, as TensorBoard's users do."""

    def on_epoch_end(self, net, **kwargs):
        self.writer.add_scalar("own", 1.0, 0)
        super().on_epoch_end(net, **kwargs)


def test_tensorboards_writers_are_opened_anew_for_each_fold(folder):
    SummaryWriter.opened.clear()
    writer = SummaryWriter(log_dir="runs/mine", flush_secs=7)
    estimator = net(("board", TwoWords(writer)))
    objective = Objective(estimator, X, Y, cv=SPLITS)
    objective = cloudpickle.loads(cloudpickle.dumps(objective))
    objective.home = folder / "home"
    objective.home.mkdir()
    run = objective.run(Trial(4, {}, 1))
    next(run)
    next(run)
    logs = [folder / f"home/trial_4/fold_{i}/runs/mine/events" for i in (0, 1)]
    assert SummaryWriter.opened == ["runs/mine", *(str(path.parent) for path in logs)]
    assert len(list(run)) == 5
    for log in logs:
        lines = log.read_text().splitlines()
        assert sum(line == "own 0 7" for line in lines) == 7
        assert [line for line in lines if "train_loss" in line][-1] == "Loss/train_loss 7 7"
    assert Path("runs/mine/events").read_text() == ""
    fitted = refit(estimator, {}, X, Y, n_steps=2, seed=0)
    assert len(Path("runs/mine/events").read_text().splitlines()) == 6
    assert len(pickle.loads(cloudpickle.dumps(fitted)).history) == 2
    writer.close()


def test_tensorboardx_and_its_files(folder):
    board = pytest.importorskip("tensorboardX")
    with board.SummaryWriter("runs/mine") as writer:
        estimator = net(("board", TensorBoard(writer)))
        objective = Objective(estimator, X, Y, cv=SPLITS)
        objective.home = folder
        before = sorted((folder / "runs").rglob("*"))
        list(objective.run(Trial(0, {}, 1)))
        assert len(list(folder.glob("trial_0/fold_*/runs/mine/events*"))) == 2
        assert sorted((folder / "runs").rglob("*")) == before


# -- put aside -------------------------------------------------------------------------------


def test_a_training_put_aside_takes_its_files_along(folder):
    objective = Objective(net(("keep", best(dirname="kept"))), X, Y, cv=SPLITS)
    through = list(objective.run(Trial(0, {}, 1)))
    run = objective.run(Trial(0, {}, 1))
    for _ in range(6):  # the best epoch is over
        next(run)
    state = run.state()
    run.close()
    rest = list(objective.resume(Trial(5, {}, 9), state))
    assert [r.fold_values for r in rest] == [r.fold_values for r in through[6:]]
    assert min(rest[-1].fold_values) > 0.8


# -- what is refused -------------------------------------------------------------------------


class Stream(Callback):
    """Writes to what it is given."""

    def __init__(self, out):
        self.out = out


class Elsewhere:
    """Writes to somewhere else, as skorch's HfHubStorage does."""

    def write(self, content):
        """Send it."""


class Reads(Callback):
    """Says that it only reads."""

    hpo_shared_paths = ("data_dir", "out")

    def __init__(self, data_dir, out=None):
        self.data_dir = data_dir
        self.out = out

    def on_epoch_end(self, net, **kwargs):
        net.history.record("n_lines", len(list(Path(self.data_dir).iterdir())))


def test_what_cannot_be_moved_is_refused_before_the_first_trial(folder):
    with (folder / "open.txt").open("w") as file:
        for callback, what in (
            (Stream(file), "'log' (Stream): its parameter 'out' is open for writing"),
            (best(f_params=file), "'f_params' is open for writing"),
            (best(f_pickle=Elsewhere()), "'f_pickle' is open for writing (Elsewhere)"),
            (SaveBest("s3://bucket/best.pt"), "'path' is an address (s3://bucket/best.pt)"),
        ):
            with pytest.raises(StudyError) as caught:
                Objective(net(("log", callback)), X, Y, cv=SPLITS)
            assert what in str(caught.value)
            assert "hpo_shared_paths = (" in str(caught.value)
    with pytest.raises(StudyError, match=r"'out' \(generator\) cannot be copied"):
        Objective(net(Stream(i for i in ())), X, Y, cv=SPLITS)


class Uploads(Checkpoint):
    """Says that its pickles may go where they go."""

    hpo_shared_paths = ("f_pickle",)


def test_what_may_be_shared_by_all_is_left_as_it_is(folder):
    estimator = net(Uploads("train_loss_best", fn_prefix="own_", f_pickle=Elsewhere()))
    copied = copy_of(estimator)
    isolate(copied, FoldFiles(lambda: folder / "fold"))
    checkpoint = copied.callbacks[-1]
    assert isinstance(checkpoint.f_pickle, Elsewhere)
    written = checkpoint.fn_prefix, checkpoint.dirname, checkpoint.f_params
    assert written == ("", "", str(folder / "fold" / "own_params.pt"))


def test_a_big_folder_is_refused_and_one_that_is_only_read_is_left(folder):
    many = folder / "many"
    many.mkdir()
    for i in range(1100):
        (many / f"{i}.dat").touch()
    with pytest.raises(StudyError, match=r"names .* which holds more than is copied"):
        Objective(net(Logger(log_dir=str(many))), X, Y, cv=SPLITS)
    report = last(net(Reads("many", out=print)))
    assert report.metrics["n_lines"] == (1100.0, 1100.0)


def test_what_is_in_memory_is_each_folds_own(folder):
    streams = []

    class Remember(Stream):
        def on_train_end(self, net, **kwargs):
            self.out.write("end")
            streams.append(self.out.getvalue())

    last(net(Remember(io.StringIO()), Checkpoint("train_loss_best", f_optimizer=io.BytesIO())))
    assert streams == ["end", "end"]
    assert list(folder.rglob("*")) == []
