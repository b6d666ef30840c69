"""The page of the studies says what stands in the storage, and what people wrote of it."""

import importlib.util
import re
import shutil
from pathlib import Path

import pytest
from sklearn.linear_model import RidgeClassifier

from hpo import Study, run_study
from hpo.data import load_digits

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "studies_page.py"

FILE = '''"""{}"""

from sklearn.linear_model import RidgeClassifier

from hpo import Study
from hpo.data import load_digits

study = Study(
    name="{}", estimator=RidgeClassifier(), data=load_digits, search_space={{"alpha": [0.1, 1e5]}}
)
'''
ANSWERS = """
ridge:
  answer: Little of it.
other:
  answer: Nobody knows.
  figure: accuracy 0.5
  measured: quick-start
"""


@pytest.fixture(scope="module")
def page():
    spec = importlib.util.spec_from_file_location("studies_page", PAGE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def written(tmp_path, page):
    """Return the result of a study, and the folder in which the page of it is written."""
    storage = f"journal:///{tmp_path / 'hpo.journal'}"
    study = Study(
        name="ridge",
        estimator=RidgeClassifier(),
        data=load_digits,
        search_space={"alpha": [0.1, 1e5]},
        cv=3,
        n_trials=None,
        sampler="grid",
        storage=storage,
        tracker="null",
    )
    run_study(study)
    result = run_study(study, fresh=True)
    (tmp_path / "studies").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "studies.yaml").write_text(ANSWERS)
    for name, text in (("ridge", "Asks how much ``alpha``."), ("other", "Asks nothing.")):
        (tmp_path / "studies" / f"{name}.py").write_text(FILE.format(text, name))
    page.write_page(storage, tmp_path, "a machine")
    return result, tmp_path


def text_of(folder):
    return (folder / "studies" / "README.md").read_text()


def test_the_page_is_made_of_the_storage(written):
    result, folder = written
    text = text_of(folder)
    assert "Asks how much `alpha`." in text
    assert "`hpo run studies/other.py`: not run for this page; its figures are in [" in text
    assert "**ridge@2**: 2 trials (2 complete, 0 pruned, 0 failed)" in text
    assert "**ridge**" not in text  # the older one
    assert f"held-out test {result.test_score:.4f}" in text
    assert "| alpha |" in text
    assert (folder / "docs" / "plots" / "ridge.png").stat().st_size > 1000


def test_contents_and_summary_come_first(written):
    result, folder = written
    front, _, _ = text_of(folder).partition("## other")
    assert "[ridge](#ridge)" in front.partition("## Summary")[0]
    rows = [line for line in front.splitlines() if line.startswith("| [")]
    assert len(rows) == 2
    benchmarks = "[Benchmarks](../docs/benchmarks.md#quick-start)"
    assert rows[0] == (
        f"| [other](#other) | Nothing | Nobody knows. | accuracy 0.5. {benchmarks} |"
    )
    assert rows[1].startswith("| [ridge](#ridge) | How much `alpha` | Little of it. | ")
    assert f"held-out {result.test_score:.4f}. |" in rows[1]


def test_new_texts_keep_the_figures(written, page):
    _, folder = written
    before = text_of(folder)
    page.rewrite_texts(folder)
    assert text_of(folder) == before
    answers = folder / "docs" / "studies.yaml"
    answers.write_text(answers.read_text().replace("Little of it.", "All of it."))
    (folder / "studies" / "ridge.py").write_text(FILE.format("Asks why.", "ridge"))
    page.rewrite_texts(folder)
    assert "| [ridge](#ridge) | Why | All of it. | " in text_of(folder)
    told = before[before.index("**ridge@2**") :]
    assert told in text_of(folder)


def test_a_study_without_figures_is_told(written, page):
    _, folder = written
    (folder / "studies" / "new.py").write_text(FILE.format("Asks more.", "new"))
    with pytest.raises(ValueError, match="The page has no figures of new"):
        page.rewrite_texts(folder)


def test_the_last_run_of_each_size_is_found(page):
    known = ["few_30", "few_100@2", "few_100", "few_full", "fewer_30"]
    assert page.latest("few_100", known) == ["few_30", "few_100@2"]


def test_the_committed_page_has_the_texts_of_the_studies(page, tmp_path):
    """If this fails: python docs/studies_page.py --texts-only."""
    for part in ("studies", "docs"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("*.png"))
    page.rewrite_texts(tmp_path)
    assert text_of(tmp_path) == text_of(ROOT)


def test_every_study_has_an_answer(page):
    assert set(page.read_answers(ROOT)) == {file.stem for file in page.study_files(ROOT)}


def test_a_figure_that_is_repeated_stands_in_the_benchmarks(page):
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    sections = {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-"): told
        for title, told in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    }
    repeated = [answer for answer in page.read_answers(ROOT).values() if "measured" in answer]
    assert repeated
    for answer in repeated:
        for figure in re.findall(r"\d+\.\d+", answer["figure"]):
            assert figure in sections[answer["measured"]]
