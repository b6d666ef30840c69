import errno
import os
import stat

import numpy as np
import pytest

from hpo._lock import FileLock
from hpo.trackers.mlflow import spool
from hpo.trackers.mlflow.spool import Spool, SpoolWriter, default_root, study_folder

IDENTITY = {"tracking_uri": "sqlite:////x.db", "study_key": "key", "name": "study"}


@pytest.fixture
def writer(tmp_path):
    writer = SpoolWriter(tmp_path / "study", IDENTITY)
    yield writer
    writer.close()


def event(number):
    return {"kind": "trial_started", "number": number}


def numbers(spool):
    return [e["number"] for e in spool.read(0)[0]]


def test_events_come_back_in_order_and_once(writer):
    for number in range(5):
        writer.append(event(number))
    spool = writer.spool
    assert spool.pending() == 5
    events, offset = spool.read(0, size=1)
    assert [e["number"] for e in events] == [0]
    spool.note_sent(offset)
    assert spool.pending() == 4
    rest, end = spool.read(offset)
    assert [e["number"] for e in rest] == [1, 2, 3, 4]
    assert spool.read(end) == ([], end)


def test_a_line_cut_off_by_the_drivers_death_is_passed_over(writer):
    writer.append(event(0))
    with writer.spool.events_path.open("ab") as file:
        file.write(b'{"kind": "trial_sta')
    assert numbers(writer.spool) == [0]
    assert writer.spool.pending() == 1


def test_a_full_disk_loses_and_doubles_nothing(writer, monkeypatch):
    """The disk takes half a line, then nothing, then everything."""
    writer.append(event(0))
    write = os.write
    answers = iter([lambda descriptor, data: write(descriptor, data[:10]), full, full])

    def filling_up(descriptor, data):
        return next(answers, write)(descriptor, data)

    monkeypatch.setattr(spool.os, "write", filling_up)
    writer.append(event(1))
    assert writer.waiting == 1
    writer.append(event(2))
    writer.append(event(3))
    assert writer.waiting == 3
    assert writer.error.errno == errno.ENOSPC
    writer.append(event(4))
    assert writer.waiting == 0
    assert writer.error is None
    assert numbers(writer.spool) == [0, 1, 2, 3, 4]


def full(descriptor, data):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("content", ["", "x", "12x"])
def test_an_unreadable_progress_means_sending_again(writer, content):
    writer.append(event(0))
    (writer.spool.folder / "sent").write_text(content)
    assert writer.spool.offset == 0


def test_numbers_of_numpy_and_odd_objects_are_written(writer):
    writer.append({"kind": "x", "a": np.float64(0.5), "b": np.int64(3), "c": (1, object)})
    (read,), _ = writer.spool.read(0)
    assert read == {"kind": "x", "a": 0.5, "b": 3, "c": [1, "<class 'object'>"]}


def test_others_cannot_read_the_tracking_uri(writer):
    writer.append(event(0))
    assert stat.S_IMODE(writer.spool.folder.parent.stat().st_mode) == 0o700


def test_the_writer_holds_its_lock_until_it_closes(writer):
    writer.append(event(0))
    other = Spool(writer.spool.folder).driver_lock
    assert not other.acquire()
    writer.close()
    assert other.acquire()
    other.release()


def test_a_lock_is_free_after_release(tmp_path):
    first, second = FileLock(tmp_path / "x"), FileLock(tmp_path / "x")
    assert first.acquire()
    assert first.acquire()
    assert not second.acquire(timeout=0.1)
    first.release()
    first.release()
    assert second.acquire()
    second.release()


def test_the_spool_lies_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("HPO_CACHE", raising=False)
    assert default_root() == tmp_path / "xdg" / "hpo" / "spool"
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    assert default_root() == tmp_path / "cache" / "spool"


def test_each_study_and_store_has_a_folder_inside_the_root(tmp_path):
    keys = ["a/b", "a_b", "../..", "", "é" * 300]
    uris = ["sqlite:////x.db", "http://host"]
    folders = {study_folder(tmp_path, uri, key) for key in keys for uri in uris}
    assert len(folders) == len(keys) * len(uris)
    for folder in folders:
        assert folder.parent.parent == tmp_path
        folder.mkdir(parents=True)
