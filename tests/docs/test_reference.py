"""The reference lists what there is: public names, options, errors, keys, and what MLflow gets."""

import re
from pathlib import Path

import pytest

from hpo import Study, run_study
from hpo.data import load_digits
from hpo.modules import MLP
from hpo.nets import RegularizedClassifier
from hpo.space._parse import _ALL_KEYS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def make_reference():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        import make_reference

        yield make_reference


def test_the_pages_are_those_of_the_code(make_reference):
    """If this fails: ``python docs/make_reference.py``."""
    for name, text in make_reference.pages().items():
        assert (DOCS / "reference" / name).read_text() == text, name


def test_every_public_name_is_listed_and_described(make_reference, pages):
    tables = pages["docs/reference/python.md"].tables
    listed = [row[0].children[0].content for table in tables for row in table.rows]
    known = make_reference.public_names()
    assert sorted(listed) == sorted(name for own in known.values() for name in own)
    assert all(row[2].content for table in tables for row in table.rows)


def test_every_key_of_a_space_is_listed(pages):
    (table,) = [t for t in pages["docs/search_spaces.md"].tables if t.header[0] == "key"]
    assert sorted(table.code()) == sorted(_ALL_KEYS)


def patterns(page, heading, kinds):
    """Return a pattern for all names that tables of these kinds list under a heading."""
    text = page.text.split(f"## {heading}")[1].split("\n## ")[0]
    names = []
    for kind in kinds:
        rows = text.split(f"\n| {kind} |")[1].split("\n\n")[0].splitlines()[2:]
        names += [n for row in rows for n in re.findall(r"`([^`]+)`", row.split("|")[1])]
    return names


def listed(names, name):
    """Return whether a list of names has a name, as it is or by its place-holders."""
    made = (re.escape(n).replace("<i>", r"\d+").replace("<name>", r"[\w.-]+") for n in names)
    return any(re.fullmatch(pattern, name) for pattern in made)


@pytest.mark.slow
def test_what_mlflow_gets_is_listed(tmp_path, monkeypatch, pages, empty_store):
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    store = tmp_path / "mlflow.db"
    store.write_bytes(empty_store.read_bytes())
    net = RegularizedClassifier(
        MLP, module__n_features=64, module__n_classes=10, max_epochs=2, train_split=None, verbose=0
    )
    study = Study(
        name="listed",
        estimator=net,
        data=load_digits,
        search_space={"lr": {"type": "float", "low": 1e-3, "high": 0.3, "log": True}},
        scoring=["accuracy", "neg_log_loss"],
        cv=3,
        n_trials=4,
        storage="journal:///listed.journal",
        tracking_uri=f"sqlite:///{store}",
        costs=["seconds"],
    )
    run_study(study, verbose=0)
    client = MlflowClient(study.tracking_uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "listed"]
    page = pages["docs/reference/mlflow.md"]
    unlisted = set()
    for run in client.search_runs([experiment.experiment_id]):
        is_trial = "mlflow.parentRunId" in run.data.tags
        heading = "A trial's run" if is_trial else "The study's run"
        # A name that only `<name>` would match is the estimator's or the user's own.
        own = {"accuracy", "train_loss", "lr", *(k for k in run.data.params if "__" in k)}
        for kind, found in (
            ("metric", run.data.metrics),
            ("tag", {t: 1 for t in run.data.tags if not t.startswith("mlflow.")}),
            ("parameter", run.data.params),
            ("file", {f.path: 1 for f in client.list_artifacts(run.info.run_id)}),
        ):
            names = [n for n in patterns(page, heading, [kind]) if n != "<name>"]
            unlisted |= {(kind, n) for n in found if n not in own and not listed(names, n)}
    assert unlisted == set()
