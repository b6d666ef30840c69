"""The site is built without a warning, and has every page and every public name."""

import subprocess
import sys
import zlib
from importlib.util import find_spec
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def parts():
    """Return the modules that make the site."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        import make_site

        yield make_site


def test_every_page_stands_in_the_contents(parts, pages):
    listed = [name for section in parts.SECTIONS.values() for name in section]
    assert len(listed) == len(set(listed))
    assert {f"{name}.md" for name in listed} | {"README.md"} == set(pages)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    find_spec("myst_parser") is None or find_spec("pydata_sphinx_theme") is None,
    reason="needs the extra docs: pip install -e '.[docs]'",
)
def test_the_site_is_built_and_has_every_public_name(tmp_path, parts):
    done = subprocess.run(
        [sys.executable, DOCS / "make_site.py", tmp_path / "site"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    head, _, packed = (tmp_path / "site" / "objects.inv").read_bytes().partition(b"zlib.\n")
    assert head.startswith(b"# Sphinx inventory")
    found = {line.split(" ")[0] for line in zlib.decompress(packed).decode().splitlines()}
    names = parts.public_names()
    expected = {parts.home(package, name) for package, own in names.items() for name in own}
    assert expected - found == set()
