"""Every file that hpo writes: full disk, no permission, damage, a lock that nobody releases."""

import fcntl
import random
import re
import sqlite3
import tempfile
from pathlib import Path

import pytest
from _compare import complaints, lost, snapshot
from _studies import HERE, N_TRIALS, ROUNDS, SGD

STORAGE = "journal:///hpo.journal"
AUDIT = HERE / "audit"
WATCHED = f"exec(open({str(AUDIT / 'sitecustomize.py')!r}).read())\n"
PROCESSES = ["--executor", "process", "--n-jobs", "2"]

NEEDED, ASIDE = "needed", "aside"

FILES = {
    r"hpo\.journal": NEEDED,
    r"hpo\.journal\.hpo-lock": NEEDED,
    r"hpo\.journal\.files": ASIDE,
    r"hpo\.journal\.files/KEY": ASIDE,
    r"hpo\.journal\.files/KEY/out_of_fold": ASIDE,
    r"hpo\.journal\.files/KEY/out_of_fold/(rows|trial_\d+)\.(npz|\d+\.tmp)": ASIDE,
    r"hpo\.journal\.files/KEY/(report\.html|trials\.csv|\w+\.png|model\.(pkl|json))": ASIDE,
    r"cache(/tracking(/faults-HASH(/HASH)?)?)?": ASIDE,
    r"cache/checkpoints(/(key|\..+\.part))?": ASIDE,
    r"cache/tracking/faults-HASH/HASH/order-HASH": ASIDE,
    r"cache/tracking/faults-HASH/HASH/follower\.log": ASIDE,
    r"cache/tracking/faults-HASH/HASH/lock": ASIDE,
    r"cache/tracking/faults-HASH/HASH/outcome\.(new|json)": ASIDE,
    r"mlflow\.db": ASIDE,
    r"mlruns(/1(/KEY(/artifacts(/.+)?)?)?)?": ASIDE,
    r"mlruns/1/models(/m-KEY(/artifacts(/.+)?)?)?": ASIDE,
    r"tmp/hpo-model-\w+(/.+)?": ASIDE,
    r"tmp/hpo-files-\w+": NEEDED,
    r"tmp/hpo-files-\w+/(lock|\w+)": NEEDED,
    r"tmp/hpo-(?!files)\w+": NEEDED,
    r"tmp/hpo-(?!files)\w+/objective": NEEDED,
    r"tmp/hpo-(?!files)\w+/(report\.html|trials\.csv|\w+\.png|model\.(pkl|json)|own)": ASIDE,
}
"""What a study writes below its folder, and whether it can go on without it."""

OF_OTHERS = r"tmp/(\w{8}|tmp\w{8}(/.+)?|pymp-.+|torchinductor_\w+(/.+)?)|(tmp/)?\.|study\.py|"
"""Temporary files of Python, torch and MLflow."""


@pytest.fixture
def temporary():
    """A folder for temporary files, whose name is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="h") as folder:
        yield Path(folder).resolve()


def start(commands, folder, temporary, *args, fails="", error="ENOSPC"):
    home = re.escape(str(temporary if fails.startswith("tmp/") else folder.resolve()))
    return commands.start(
        "run",
        "study.py",
        *args,
        folder=folder,
        setup=WATCHED + "import tempfile; tempfile.tempdir = None",
        AUDIT_LOG=str(folder / "audit.log"),
        AUDIT_FAIL=fails and f"^{home}/(?:{fails.removeprefix('tmp/')})$",
        AUDIT_ERROR=error,
        PYTHONPATH=f"{AUDIT}:{HERE.parents[1]}",
        TMPDIR=str(temporary),
    )


def without_keys(name):
    return re.sub(r"[0-9a-f]{12}", "HASH", re.sub(r"[0-9a-f]{32}", "KEY", name))


def as_written(pattern):
    """Return a pattern of names without keys as one of names."""
    return pattern.replace("HASH", "[0-9a-f]{12}").replace("KEY", "[0-9a-f]{32}")


def test_the_files_that_a_study_writes_are_known(commands, new_folder, temporary):
    """A new file must be added to FILES, which the faults below are tried on."""
    folder = new_folder("study", SGD)
    command = start(commands, folder, temporary, *PROCESSES)
    assert command.wait() == 0, command.text
    place = f"{folder.resolve()}/"
    written = (folder / "audit.log").read_text().replace(f"{temporary}/", f"{place}tmp/")
    names = {n.removeprefix(place) for n in written.splitlines() if n.startswith(place)}
    names = set(map(without_keys, names))
    names = {name for name in names if not re.fullmatch(OF_OTHERS, name)}
    known = {pattern: {n for n in names if re.fullmatch(pattern, n)} for pattern in FILES}
    assert names - set().union(*known.values()) == set()
    assert [pattern for pattern, found in known.items() if not found] == []


REPORT = r"tmp/hpo-(?!files)\w+/(report\.html|trials\.csv|\w+\.png|model\.(pkl|json)|own)"
SHORT = [
    (r"hpo\.journal\.hpo-lock", "EROFS"),
    (r"tmp/hpo-(?!files)\w+", "ENOSPC"),
    (REPORT, "ENOSPC"),
]
ALL = [(pattern, error) for pattern in FILES for error in ("ENOSPC", "EROFS", "EACCES")]


@pytest.mark.parametrize(("pattern", "error"), SHORT if ROUNDS == 1 else ALL)
def test_a_file_that_cannot_be_written_is_told_and_leaves_nothing_half_made(
    pattern, error, commands, new_folder, temporary, monkeypatch, tally
):
    folder = new_folder("study", SGD)
    monkeypatch.chdir(folder)
    command = start(commands, folder, temporary, *PROCESSES, fails=as_written(pattern), error=error)
    code, text = command.wait(), command.text
    assert "Traceback" not in text, text
    before = snapshot("faults", STORAGE)
    if FILES[pattern] == NEEDED:
        assert code == 2, text
        assert text.splitlines()[-1].startswith("error: "), text
    else:
        assert code == 0, text
        assert complaints("faults", STORAGE, n_trials=N_TRIALS) == []
        instead = list(folder.glob("hpo.journal.files/*/*_error.txt"))  # says why
        assert "note: " in text or instead or "outcome" in pattern, text
    assert not list(temporary.glob("hpo-*"))  # nothing is left
    command = start(commands, folder, temporary, *PROCESSES)
    assert command.wait() == 0, command.text
    tracking = f"sqlite:///{folder / 'mlflow.db'}"
    wrong = complaints("faults", STORAGE, n_trials=N_TRIALS, tracking_uri=tracking)
    gone = lost(before, "faults", STORAGE)
    name = pattern.replace("\\", "").replace("|", " or ")
    tally(f"cannot be written ({error})", f"`{name}`", 1, len(gone), len(wrong))
    assert (gone, wrong) == ([], [])


FULL = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, resource.RLIM_INFINITY))
"""


@pytest.mark.parametrize("storage", ["journal"] if ROUNDS == 1 else ["journal", "sqlite"])
def test_a_disk_that_is_full_at_a_random_moment(storage, commands, new_folder, monkeypatch, tally):
    dice = random.Random(storage)
    url = {"journal": STORAGE, "sqlite": "sqlite:///hpo.db"}[storage]
    args = ["run", "study.py", "--storage", url, "--tracker", "null"]
    for i in range(ROUNDS):
        folder = new_folder(f"{i}", SGD, store=False)
        monkeypatch.chdir(folder)
        most = dice.randint(0, 30_000 if storage == "journal" else 200_000)
        command = commands.start(*args, folder=folder, setup=FULL.format(most=most))
        code, text = command.wait(), command.text
        assert "Traceback" not in text, text
        assert code == 0 or text.splitlines()[-1].startswith("error: "), text
        before = snapshot("faults", url)
        commands.run(*args, folder=folder)
        wrong, gone = complaints("faults", url, n_trials=N_TRIALS), lost(before, "faults", url)
        tally("disk full at a random moment", storage, 1, len(gone), len(wrong))
        assert (gone, wrong) == ([], []), text


def flip(content, dice):
    """Return a content with a few bytes changed in the middle."""
    changed = bytearray(content)
    for _ in range(5):
        changed[dice.randrange(len(changed) // 4, len(changed))] = dice.randrange(256)
    return bytes(changed)


DAMAGES = {
    "cut": lambda content, dice: content[: dice.randrange(len(content))],
    "empty": lambda content, dice: b"",
    "another file": lambda content, dice: b"\x89PNG\r\n" + bytes(200),
    "bytes changed": flip,
}


@pytest.mark.parametrize("damage", ["cut"] if ROUNDS == 1 else DAMAGES)
@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_a_damaged_storage_is_told_or_mended(
    storage, damage, commands, new_folder, monkeypatch, tally
):
    """What is damaged may be lost; it is never a traceback, nor a trial that counts twice."""
    dice = random.Random(f"{storage} {damage}")
    name = {"journal": "hpo.journal", "sqlite": "hpo.db"}[storage]
    args = ["run", "study.py", "--storage", f"{storage}:///{name}", "--tracker", "null"]
    made = new_folder("made", SGD, store=False)
    commands.run(*args, "--n-trials", "6", folder=made)
    for i in range(ROUNDS):
        folder = new_folder(f"{i}", SGD, store=False)
        monkeypatch.chdir(folder)
        content = DAMAGES[damage]((made / name).read_bytes(), dice)
        (folder / name).write_bytes(content)
        command = commands.start(*args, folder=folder)
        code, text = command.wait(), command.text
        assert "Traceback" not in text, text
        tally(f"damaged: {damage}", storage)
        if code:
            assert code == 2, text
            assert "error: " in text
            assert (folder / name).read_bytes()[:100] == content[:100]  # left for who repairs it
        else:
            url = f"{storage}:///{name}"
            wrong = complaints("faults", url, n_trials=N_TRIALS, no_doubles=False)
            assert [text for text in wrong if ": steps " not in text] == []  # a line was lost


@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_a_storage_that_another_process_keeps_locked(storage, commands, new_folder, monkeypatch):
    folder = new_folder("study", SGD, store=False)
    monkeypatch.chdir(folder)
    name = {"journal": "hpo.journal", "sqlite": "hpo.db"}[storage]
    args = ["run", "study.py", "--storage", f"{storage}:///{name}", "--tracker", "null"]
    commands.run(*args, "--n-trials", "2", folder=folder)
    module = {"journal": "hpo.storage._journal_locks", "sqlite": "hpo.storage.open"}[storage]
    setup = f"import {module} as m; m.LOCK_SECONDS = 0.3"
    if storage == "journal":
        with (folder / "hpo.journal.hpo-lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            text = commands.run(*args, folder=folder, setup=setup, code=2)
    else:
        connection = sqlite3.connect(folder / name)
        connection.execute("BEGIN EXCLUSIVE")
        text = commands.run(*args, folder=folder, setup=setup, code=2)
        connection.rollback()
        connection.close()
    assert "Another process holds it" in text
    assert "Traceback" not in text
    commands.run(*args, folder=folder)
    assert complaints("faults", f"{storage}:///{name}", n_trials=N_TRIALS) == []
