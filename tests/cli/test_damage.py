"""Errors of the study's own code, and damaged files, give one message and no traceback."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]
Write = Callable[..., str]

AWAY = "http://127.0.0.1:9"  # nobody listens there


@pytest.mark.parametrize("command", ["run", "validate"])
@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise KeyError('no column y')", "    return helper()\n"),
        ("raise SystemExit(3)", "the file ended the program (SystemExit: 3)"),
        ("raise ValueError('postgresql://a:s3cr3t@h')", "ValueError: postgresql://a:***@h"),
    ],
)
def test_data_that_raises(
    hpo_command: Run, write_study: Write, command: str, code: str, told: str
) -> None:
    function = f"def helper():\n    {code}\n\n\ndef data():\n    return helper()\n\n\nstudy = Study"
    data = "data=StudyData(X=X[:100], y=y[:100], X_test=X[100:], y_test=y[100:])"
    file = write_study({"study = Study": function, data: "data=data"})
    exit_code, out, err = hpo_command(command, file)
    assert (exit_code, out) == (2, "")
    assert err.startswith("error: tiny.py")
    assert told in err
    assert "s3cr3t" not in err
    assert "Traceback" not in err
    assert "prepared.py" not in err  # hpo's own lines


def test_a_cross_validator_that_raises(hpo_command: Run, write_study: Write) -> None:
    splitter = (
        "class Splitter:\n    def get_n_splits(self, *args):\n        return 2\n\n"
        "    def split(self, *args):\n        raise RuntimeError('no folds')\n\n\nstudy = Study"
    )
    file = write_study({"study = Study": splitter, "cv=3": "cv=Splitter()"})
    exit_code, _, err = hpo_command("run", file)
    assert exit_code == 2
    assert "RuntimeError: no folds" in err
    assert "Traceback" not in err


@pytest.fixture
def place(hpo_command: Run, write_study: Write, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the follower of a study that its target has not got."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    file = write_study({'tracker="null"': f'tracker="mlflow", tracking_uri="{AWAY}"'})
    code, _, _ = hpo_command("run", file, "--n-trials", "1")
    assert code == 0
    (place,) = Path("cache/tracking").glob("*/*")
    return place


def test_damaged_files_of_a_follower(hpo_command: Run, place: Path) -> None:
    (order,) = place.glob("order-*")
    whole = order.read_bytes()

    order.write_bytes(whole[:100])
    code, out, err = hpo_command("sync")
    assert code == 1
    assert "Nothing waits" not in out
    assert f"{order.name} is damaged or not your own" in err

    order.write_bytes(whole)
    (place / "outcome.json").write_text("{")
    code, _, err = hpo_command("sync")
    assert code == 1
    assert f"has not reached {AWAY}" in err

    (place / "follower.log").unlink()
    (place / "follower.log").mkdir()
    code, _, err = hpo_command("sync")
    assert code == 1
    assert "its follower cannot be started: [Errno 21] Is a directory" in err
    assert "Traceback" not in err


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are POSIX's")
def test_an_order_that_others_can_write_is_told(hpo_command: Run, place: Path) -> None:
    (order,) = place.glob("order-*")
    order.chmod(0o666)
    code, _, err = hpo_command("sync")
    assert code == 1
    assert f"{order.name} is damaged or not your own" in err
