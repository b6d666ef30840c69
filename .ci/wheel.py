"""Check an installed wheel: not the checkout, typed, of the version that its metadata names."""

from importlib.metadata import version
from pathlib import Path

import hpo

package = Path(hpo.__file__).parent
assert "site-packages" in package.parts, package
assert (package / "py.typed").is_file()
assert version("hpo-torch") == hpo.__version__, version("hpo-torch")
print(f"wheel: hpo-torch {hpo.__version__}, typed, installed in site-packages")
