"""The snapshot of a journal: it never tells anything else than the journal, whatever happens."""

import json
import math
import os
import pickle
import shutil
import stat
from copy import copy, deepcopy

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import TrialState as OptunaState
from optuna.trial import create_trial

from hpo.space import SearchSpace
from hpo.storage import journal
from hpo.storage._snapshot import load_snapshot, snapshot_of
from hpo.storage.journal import JournalFile
from hpo.storage.open import open_storage
from hpo.storage.stored_study import StoredStudy
from hpo.storage.trial_store import TrialStore
from hpo.trial import Cause, Report, TrialRecord, TrialState

SPACE = SearchSpace.load({"x": {"type": "float", "low": 0.0, "high": 1.0}, "kind": [True, 2, "a"]})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "study.journal"


@pytest.fixture(autouse=True)
def at_every_opening(monkeypatch):
    """Whoever opens a journal writes a snapshot, however short it is."""
    monkeypatch.setattr(journal, "_BEHIND", 1)


class TestWithSnapshots(StorageTestCase):
    """Optuna's own tests of storages, each of which begins with a snapshot."""

    @pytest.fixture
    def storage(self, path):
        first = open_storage(f"journal:///{path}")
        optuna.delete_study(study_name=optuna.create_study(storage=first).study_name, storage=first)
        open_storage(f"journal:///{path}")
        storage = open_storage(f"journal:///{path}")
        assert storage._file.n_saved == 2
        return storage


def run(store, n=1, state=TrialState.COMPLETE, cause=None):
    """Run trials of three reports; one that is RUNNING stays so."""
    for _ in range(n):
        trial = store.ask()
        store.begin(TrialRecord(trial, max_steps=3, started=1.0))
        scores = [0.5, 0.75, math.nan]
        reports = tuple(
            Report(trial.number, step, value, (value, trial.number), {"loss": (1.0, math.inf)})
            for step, value in enumerate(scores, 1)
        )
        for report in reports:
            store.report(report)
        if state is not TrialState.RUNNING:
            store.tell(
                TrialRecord(trial, state, reports, max_steps=3, started=1.0, ended=2.0, cause=cause)
            )


def told(path):
    """Return everything that a journal tells, read by Optuna alone."""
    return everything(JournalStorage(JournalFileBackend(str(path))))


def everything(storage):
    """Return all studies and trials of a storage as a text: nan is not itself, True is 1."""
    studies = storage.get_all_studies()
    return text_of(
        [(vars(s), [vars(t) for t in storage.get_all_trials(s._study_id)]) for s in studies]
    )


def text_of(value):
    """Return a value as a text; which key of a dictionary came first means nothing."""
    if isinstance(value, dict):
        return f"{{{', '.join(sorted(f'{key!r}: {text_of(v)}' for key, v in value.items()))}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(text_of, value))}]"
    return repr(value)


def by_snapshot(path):
    """Open a journal; return what it tells and the number of lines that were left out."""
    storage = open_storage(f"journal:///{path}")
    return everything(storage), storage._file.n_saved


@pytest.fixture
def long(path):
    """A journal of all that can happen, and its snapshot."""
    url = f"journal:///{path}"
    store = TrialStore("s", SPACE, url)
    store.enqueue([{"x": 0.25, "kind": True}, {"x": 0.5, "kind": 2}, {"x": 0.75}])
    run(store, 3)
    run(store, 1, TrialState.PRUNED, Cause.PRUNER)
    run(store, 1, TrialState.FAILED, Cause.ERROR)
    run(store, 1, TrialState.RUNNING)
    store.enqueue([{"x": 0.1, "kind": "a"}])
    gone = optuna.create_study(study_name="gone", storage=open_storage(url))
    gone.optimize(lambda trial: trial.suggest_int("n", 0, 9), n_trials=2)
    optuna.delete_study(study_name="gone", storage=gone._storage)
    again = optuna.create_study(study_name="gone", storage=open_storage(url))
    again.set_user_attr("of", "another program")
    again.optimize(other, n_trials=3, catch=ValueError)
    snapshot_of(path).unlink(missing_ok=True)
    open_storage(url)
    assert load_snapshot(path) is not None
    return path


def other(trial):
    trial.report(0.5, 3)
    trial.set_user_attr("é\ud800\t", [1, None, {"a": math.inf}])
    if trial.suggest_categorical("c", [None, True, 1, 1.0, math.nan]) is None:
        raise ValueError("no")
    trial.suggest_int("n", 1, 2**53, log=True)
    return trial.suggest_float("f", 0.0, 1.0, step=0.1)


def test_it_tells_what_the_journal_tells(long):
    mine, saved = by_snapshot(long)
    assert saved == len(long.read_bytes().splitlines())
    assert mine == told(long)
    snapshot_of(long).unlink()
    assert told(long) == mine


def test_records_are_the_same(long):
    url = f"journal:///{long}"
    with_it = StoredStudy("s", url).records(running=True)
    snapshot_of(long).unlink()
    assert repr(StoredStudy("s", url).records(running=True)) == repr(with_it)


@pytest.mark.parametrize("opened_before", [False, True])
def test_what_is_appended_is_read(long, opened_before, commands, tmp_path):
    """By plain Optuna, by another process, in trials that ran, in studies that are gone."""
    reader = open_storage(f"journal:///{long}") if opened_before else None
    theirs = JournalStorage(JournalFileBackend(str(long)))
    study = optuna.load_study(study_name="gone", storage=theirs)
    study.add_trial(create_trial(value=9.0, user_attrs={"new": 1}))
    study.ask().report(0.75, 1)
    optuna.create_study(study_name="third", storage=theirs).set_user_attr("x", 1)
    code = (
        "import sys; from tests.storage.test_snapshot import *\n"
        "run(TrialStore('s', SPACE, sys.argv[1]), 2)"
    )
    done = commands.python(code, f"journal:///{long}", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    reader = reader or open_storage(f"journal:///{long}")
    assert everything(reader) == told(long)
    assert len(reader.get_all_trials(reader.get_study_id_from_name("s"))) == 8


def test_another_one_goes_on_from_it(long):
    """Trials that had ended are not written anew; the running one ends, the waiting one runs."""
    store = TrialStore("s", SPACE, f"journal:///{long}")
    before = load_snapshot(long)
    run(store, 4)
    store._backend.save_snapshot(1)
    after = load_snapshot(long)
    assert after.size == long.stat().st_size > before.size
    assert len({*before.lines} & {*after.lines}) >= 8
    assert by_snapshot(long)[0] == told(long)


def test_many_drivers_in_turn(path):
    """Each goes on from the snapshot of the one before."""
    for n in range(1, 6):
        store = TrialStore("s", SPACE, f"journal:///{path}")
        run(store, 2, TrialState.PRUNED if n % 2 else TrialState.COMPLETE)
        run(store, 1, TrialState.RUNNING)
        store._backend.save_snapshot(1)
        assert by_snapshot(path)[0] == told(path)
        assert len(StoredStudy("s", f"journal:///{path}").records()) == 2 * n


@pytest.mark.parametrize("n_times", [1, 3, 100])
def test_others_that_write_while_it_is_made(long, n_times, monkeypatch):
    """A study that comes up between two looks at the storage is not taken for a deleted one."""
    storage = open_storage(f"journal:///{long}")
    theirs = JournalStorage(JournalFileBackend(str(long)))
    read, names = storage._file.read_logs, iter(range(n_times))

    def read_news(number):
        if (name := next(names, None)) is not None:
            study = optuna.create_study(study_name=f"new {name}", storage=theirs)
            study.add_trial(create_trial(value=9.0))
        return read(number)

    monkeypatch.setattr(storage._file, "read_logs", read_news)
    storage.set_study_user_attr(0, "x", 1)
    storage.save_snapshot(1)
    monkeypatch.undo()
    monkeypatch.setattr(journal, "_BEHIND", 10**9)
    assert by_snapshot(long)[0] == told(long)


DAMAGE = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "one byte": lambda data: data.replace(b"0.75", b"0.85", 1),
    "its head": lambda data: b"{}" + data[data.index(b"\n") :],
    "other size": lambda data: data.replace(b'"size": ', b'"size": 1', 1),
    "of another version": lambda data: data.replace(b"hpo 1", b"hpo 0", 1),
    "negative": lambda data: data.replace(b'"size": ', b'"size": -', 1),
    "no JSON": lambda data: b"\x80" * 100,
    "a line too many": lambda data: data + b"\n{}",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_one_is_made_anew(long, damage):
    good = snapshot_of(long).read_bytes()
    bad = damage(good)
    assert bad != good
    snapshot_of(long).write_bytes(bad)
    assert load_snapshot(long) is None
    assert by_snapshot(long)[0] == told(long)
    assert snapshot_of(long).read_bytes() == good


def test_one_of_another_journal_does_not_count(long, tmp_path):
    """Of the same length, even; nor one that is left when the journal has been cut short."""
    content = long.read_bytes()
    edited = content.replace(b"0.75", b"0.85", 1)
    for other_content in (edited, content[: content.rindex(b"\n", 0, -1) + 1]):
        long.write_bytes(other_content)
        assert load_snapshot(long) is None
        assert by_snapshot(long)[0] == told(long)
        long.write_bytes(content)
        snapshot_of(long).unlink()
        open_storage(f"journal:///{long}")
        assert load_snapshot(long) is not None


def test_a_driver_whose_journal_was_replaced_spoils_no_snapshot(long, tmp_path):
    store = TrialStore("s", SPACE, f"journal:///{long}")
    longer = tmp_path / "longer.journal"
    run(TrialStore("other", SPACE, f"journal:///{longer}"), 30)
    shutil.copy(longer, long)
    snapshot_of(long).unlink()
    store._backend._file.save_snapshot(
        {i: store._backend.get_all_trials(i) for i in store._backend._file.study_ids if i != 1}
    )
    assert load_snapshot(long) is None
    assert by_snapshot(long)[0] == told(long)


def test_through_a_link_it_is_that_of_the_file(long, tmp_path):
    link = tmp_path / "elsewhere" / "a link.journal"
    link.parent.mkdir()
    link.symlink_to(long)
    assert by_snapshot(link)[1] == by_snapshot(long)[1] > 0
    assert [each.name for each in link.parent.iterdir()] == [link.name]


@pytest.mark.parametrize("mode", [0o600, 0o664])
def test_who_may_read_it_is_who_may_read_the_journal(long, mode):
    long.chmod(mode)
    snapshot_of(long).unlink()
    before = os.umask(0)
    try:
        open_storage(f"journal:///{long}")
    finally:
        os.umask(before)
    assert stat.S_IMODE(snapshot_of(long).stat().st_mode) == mode
    assert not list(long.parent.glob("*.snapshot.*"))


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_one_that_somebody_else_has_written_does_not_count(long, monkeypatch):
    assert load_snapshot(long) is not None
    mine = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: mine + 1)
    assert load_snapshot(long) is not None  # written by the owner of the journal
    os.chown(snapshot_of(long), mine + 2, -1)
    assert load_snapshot(long) is None
    assert by_snapshot(long)[0] == told(long)


def test_in_a_folder_where_nothing_may_be_written_it_works_without(long, monkeypatch):
    """Root may write everywhere: the system's refusal is put in its place."""
    snapshot_of(long).unlink()
    make = os.open

    def refuse(file, flags, *args):
        if flags & os.O_CREAT and ".snapshot" in os.fspath(file):
            raise PermissionError(13, "Permission denied")
        return make(file, flags, *args)

    monkeypatch.setattr(os, "open", refuse)
    mine, saved = by_snapshot(long)
    assert mine == told(long)
    assert saved == len(long.read_bytes().splitlines())  # it is not tried at every turn
    assert not snapshot_of(long).exists()


def test_a_damaged_line_of_the_journal_is_none_of_the_snapshot(long):
    with long.open("ab") as file:
        file.write(b'{"op_code": 5, "wor\n[1]\n\n' * 5)
    first, _ = by_snapshot(long)
    mine, saved = by_snapshot(long)
    assert saved == len(long.read_bytes().splitlines())
    assert mine == first
    assert all(line[:1] == b"{" for line in load_snapshot(long).lines)


def test_a_line_without_effect_leaves_no_snapshot(long):
    """A trial of a study that is gone has no number, so that all after it would be mistaken."""
    snapshot_of(long).unlink()
    line = {"op_code": 4, "worker_id": "x", "study_id": 77, "datetime_start": None}
    with long.open("ab") as file:
        file.write(json.dumps(line).encode() + b"\n")
    run(TrialStore("s", SPACE, f"journal:///{long}"), 1)
    assert by_snapshot(long)[0] == told(long)


def test_attributes_are_read_when_they_are_asked_for(long):
    storage = open_storage(f"journal:///{long}")
    attrs = storage.get_all_trials(0, deepcopy=False)[0].system_attrs
    unread = attrs._unread
    assert "hpo:end" in attrs
    assert attrs["hpo:end"]["state"] == "complete"
    assert attrs.get("nothing") is None
    assert "fixed_params" in attrs
    with pytest.raises(KeyError):
        attrs["nothing"]
    assert attrs._unread == unread != b""
    whole = json.loads(unread) | {name: attrs[name] for name in ("hpo:end",)}

    def fresh():
        return type(attrs)({"hpo:end": attrs["hpo:end"]}, unread)

    for ask in (
        dict,
        copy,
        deepcopy,
        lambda a: {**a},
        lambda a: a | {},
        lambda a: {} | a,
        lambda a: a.copy(),
        lambda a: json.loads(json.dumps(a)),
        lambda a: pickle.loads(pickle.dumps(a)),
        lambda a: dict(a.items()),
        lambda a: dict(zip(a.keys(), a.values(), strict=True)),
        lambda a: {key: a[key] for key in a},
        lambda a: {key: a.get(key) for key in whole},
    ):
        assert repr(sorted(ask(fresh()).items())) == repr(sorted(whole.items()))
    assert len(fresh()) == len(whole)
    assert "hpo:report:1" in fresh()
    assert fresh()["hpo:report:2"][0] == 2
    assert sorted(eval(repr(fresh()), {"nan": math.nan, "inf": math.inf})) == sorted(whole)
    assert type(deepcopy(fresh())) is dict


@pytest.mark.parametrize(
    "distribution",
    [
        FloatDistribution(1e-9, 1.0, log=True),
        FloatDistribution(0.0, 1.0, step=0.1),
        IntDistribution(-5, 10**12, step=5),
        CategoricalDistribution([1, True, 1.0, None, "1", math.nan]),
    ],
)
def test_parameters_keep_value_and_type(path, distribution):
    storage = open_storage(f"journal:///{path}")
    study = optuna.create_study(study_name="s", storage=storage)
    internals = range(6) if hasattr(distribution, "choices") else [0.3, 1.0, 5.0]
    for internal in internals:
        trial = storage.create_new_trial(study._study_id)
        storage.set_trial_param(trial, "p", float(internal), distribution)
        storage.set_trial_state_values(trial, OptunaState.COMPLETE, [1.0])
    open_storage(f"journal:///{path}")
    assert load_snapshot(path) is not None
    assert by_snapshot(path)[0] == told(path)


def test_short_journals_have_none(path, monkeypatch):
    monkeypatch.undo()
    store = TrialStore("s", SPACE, f"journal:///{path}")
    run(store, 3)
    store.save_snapshot()
    assert not snapshot_of(path).exists()
    run(store, 200)
    store.save_snapshot()
    assert snapshot_of(path).exists()
    assert len(StoredStudy("s", f"journal:///{path}").records()) == 203


def test_entries_are_read_in_their_order(long):
    file = JournalFile(long)
    n = sum(1 for _ in file.read_logs(0))
    assert list(file.read_logs(n)) == []
    with pytest.raises(RuntimeError, match="one after the other"):
        list(file.read_logs(n - 1))
    assert sum(1 for _ in file.read_logs(0)) == n
