"""The file of the journal storage: killed processes, a full disk, damaged lines."""

import json
import multiprocessing
import os
import pickle
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import optuna
import pytest
from filelock import Timeout
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.testing.pytest_storages import StorageTestCase

from hpo.exceptions import StorageError
from hpo.space import SearchSpace
from hpo.storage.journal import JournalFile
from hpo.storage.open import open_storage
from hpo.storage.trial_store import TrialStore
from hpo.trial import Report, TrialRecord, TrialState

SPACE = SearchSpace.load({"x": {"type": "float", "low": 0.0, "high": 1.0}})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "study.journal"


class TestJournalFile(StorageTestCase):
    """Optuna's own tests of storages."""

    @pytest.fixture
    def storage(self, path):
        return open_storage(f"journal:///{path}")


class TestJournalFileWithOptunasLock(StorageTestCase):
    @pytest.fixture
    def storage(self, path):
        return open_storage(f"journal:///{path}?lock=file")


def complete(store, n=1):
    for _ in range(n):
        trial = store.ask()
        report = Report(trial.number, 1, 0.5, (0.25, 0.75), {"loss": (1.0, 2.0)})
        record = TrialRecord(trial, TrialState.COMPLETE, (report,), started=1.0, ended=2.0)
        store.begin(record)
        store.report(report)
        store.tell(record)
    return store.records()


def test_optuna_reads_it(path):
    told = complete(TrialStore("s", SPACE, f"journal:///{path}"), 3)
    theirs = JournalStorage(JournalFileBackend(str(path)))
    study = optuna.load_study(study_name="s", storage=theirs)
    assert [trial.value for trial in study.trials] == [0.5] * 3
    assert [trial.params["x"] for trial in study.trials] == [r.trial.params["x"] for r in told]
    assert all(trial.user_attrs == {} for trial in study.trials)  # what viewers show in a table
    assert study.user_attrs == {}


def test_cut_short_within_its_last_lines(path):
    """The study opens, nothing finished before is lost, and it goes on.

    Cut at and beside the ends of all lines, and at every ninth byte: within a line, no byte is
    another one, as what is left is no JSON.
    """
    url = f"journal:///{path}"
    store = TrialStore("s", SPACE, url)
    told = complete(store, 2)
    before = path.stat().st_size
    complete(store)
    content = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n") and i + 1 >= before]
    sizes = {end + beside for end in ends for beside in (-2, -1, 0, 1)}
    sizes |= {*range(before, len(content), 9), len(content)}
    assert len(ends) > 5
    for size in sorted(size for size in sizes if before <= size <= len(content)):
        path.write_bytes(content[:size])
        again = TrialStore("s", SPACE, url)
        assert again.records()[:2] == told
        finished = len(again.records())
        assert len(complete(again)) == finished + 1
        assert all(json.loads(line) for line in path.read_bytes().splitlines())
        assert TrialStore("s", SPACE, url).records() == again.records()


def test_a_damaged_line_is_skipped(path):
    url = f"journal:///{path}"
    told = complete(TrialStore("s", SPACE, url), 2)
    lines = path.read_bytes().splitlines(keepends=True)
    incomplete = b'{"op_code":5,"worker_id":"x"}\n{"op_code":"x","worker_id":"x"}\n'
    for damage in (b"\0\0\0\0\n", b'{"op_code": 5, "wor\n', b"[1]\n", b"{}\n", incomplete):
        path.write_bytes(b"".join([*lines, damage]))
        store = TrialStore("s", SPACE, url)
        assert store.records() == told
        assert len(complete(store)) == 3
        assert len(TrialStore("s", SPACE, url).records()) == 3


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a limit on files")
def test_a_full_disk(path):
    """What cannot be written raises; once there is space again, the same process goes on."""
    url = f"journal:///{path}"
    store = TrialStore("s", SPACE, url)
    told = complete(store, 2)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # In the middle of the third line from here.
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 400, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"cannot be used: .*File too large"):
            complete(store, 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert all(json.loads(line) for line in path.read_bytes().splitlines())
    assert store.records() == told
    assert complete(store)[:2] == told
    assert TrialStore("s", SPACE, url).records() == store.records()


@pytest.mark.parametrize("cut", [1, 20])
def test_what_a_process_left_of_a_line_is_removed(path, cut):
    url = f"journal:///{path}"
    store = TrialStore("s", SPACE, url)
    complete(store)
    with path.open("ab") as file:
        file.write(b'{"op_code":8,"worker_id":"x"'[:cut])
    assert len(complete(store)) == 2
    assert all(json.loads(line) for line in path.read_bytes().splitlines())


HOLDER = """
    import sys, time
    from hpo.storage.journal import JournalFile
    journal = JournalFile(sys.argv[1])
    with journal._lock:
        print("locked", flush=True)
        time.sleep(600)
"""


def test_a_killed_process_blocks_nobody(path, monkeypatch):
    complete(TrialStore("s", SPACE, f"journal:///{path}"))
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "locked\n"
        holder.kill()
        holder.wait()
        monkeypatch.setattr("hpo.storage._journal_locks.LOCK_SECONDS", 0.0)  # none is waited for
        assert len(complete(TrialStore("s", SPACE, f"journal:///{path}"))) == 2


def write_many(url, n):
    complete(TrialStore("s", SPACE, url), n)


@pytest.mark.parametrize("query", ["", "?lock=file"])
def test_several_processes_write_at_a_time(path, query):
    url = f"journal:///{path}{query}"
    TrialStore("s", SPACE, url)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_many, args=(url, 15)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    records = TrialStore("s", SPACE, url).records()
    assert [record.number for record in records] == list(range(45))
    assert all(record.reports[0].fold_values == (0.25, 0.75) for record in records)


def test_a_link_to_a_journal_has_the_lock_of_the_file(path, tmp_path):
    """Or one process could cut off the line that another one is writing."""
    told = complete(TrialStore("s", SPACE, f"journal:///{path}"))
    link = tmp_path / "elsewhere" / "a link.journal"
    link.parent.mkdir()
    link.symlink_to(path)
    with JournalFile(path)._lock:
        assert not Path(f"{link}.hpo-lock").exists()
        with pytest.raises(Timeout):
            JournalFile(link)._lock._lock.acquire(timeout=0)
    assert complete(TrialStore("s", SPACE, f"journal:///{link}"))[:1] == told
    assert sorted(p.name for p in link.parent.iterdir()) == [link.name]


def write_by_optuna(path, n):
    storage = JournalStorage(JournalFileBackend(str(path)))
    study = optuna.load_study(study_name="s", storage=storage)
    for i in range(n):
        study.set_user_attr(f"note {i}", "x" * 3000)


def test_optunas_own_writers_and_ours_lose_no_line(path):
    """A dashboard writes notes while a study runs; neither waits for a lock that is left."""
    url = f"journal:///{path}"
    store = TrialStore("s", SPACE, url)
    theirs = multiprocessing.get_context("spawn").Process(target=write_by_optuna, args=(path, 60))
    theirs.start()
    while theirs.is_alive():
        complete(store)
    assert theirs.exitcode == 0
    lines = path.read_text().splitlines()
    assert all(json.loads(line) for line in lines)
    notes = optuna.load_study(study_name="s", storage=open_storage(url)).user_attrs
    assert sum(name.startswith("note ") for name in notes) == 60
    records = TrialStore("s", SPACE, url).records()
    assert len(records) > 0
    assert all(record.state is TrialState.COMPLETE for record in records)
    assert not Path(f"{path}.lock").exists()


def test_a_lock_of_optuna_is_not_opened_for_it_is_the_journal(path):
    store = TrialStore("s", SPACE, f"journal:///{path}")
    complete(store)
    size = path.stat().st_size
    lock = Path(f"{path}.lock")
    lock.symlink_to(path)
    os.utime(lock, (0, 0), follow_symlinks=False)  # of a process that has died
    complete(store)
    assert path.stat().st_size > size
    assert lock.is_symlink()


def test_a_file_that_is_gone_is_not_made_anew(path):
    store = TrialStore("s", SPACE, f"journal:///{path}")
    path.unlink()
    with pytest.raises(StorageError, match="the file was removed meanwhile"):
        store.ask()
    assert not path.exists()


def test_a_file_of_something_else_is_left_alone(path):
    for content in ("a poem\n", '{"name": "x"}\n', "no line break", "{"):
        path.write_text(content)
        with pytest.raises(StorageError, match="something else than a journal"):
            TrialStore("s", SPACE, f"journal:///{path}")
        assert path.read_text() == content


def test_urls(path):
    with pytest.raises(StorageError, match="the option 'lock=none'"):
        TrialStore("s", SPACE, f"journal:///{path}?lock=none")
    with pytest.raises(StorageError, match="is a directory"):
        TrialStore("s", SPACE, f"journal:///{path.parent}")
    with pytest.raises(StorageError, match="folder does not exist"):
        TrialStore("s", SPACE, f"journal:///{path.parent}/nowhere/s.journal")


def test_a_storage_travels_to_another_process(path):
    storage = open_storage(f"journal:///{path}")
    optuna.create_study(storage=storage, study_name="s")
    again = pickle.loads(pickle.dumps(storage))
    assert [study.study_name for study in again.get_all_studies()] == ["s"]
    assert JournalFile(path).read_logs(0) is not None
    assert os.access(path, os.R_OK)
