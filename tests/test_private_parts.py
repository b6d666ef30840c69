"""What of other libraries is used though it is not public: all of it is written down, and may go.

The table is in docs/design.md. Of each part a test takes it away and runs the default study.
"""

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

HPO = Path(__file__).parent.parent / "hpo"
DESIGN = HPO.parent / "docs" / "design.md"

NO_PARTS = {
    "_fields": "documented, of named tuples",
    "_exit": "documented, of os",
    "_getframe": "documented, of sys",
    "_batch_count": "the end of a name",
    "_error": "the end of a name",
    "_gain_se": "the end of a name",
    "_global_": "the beginning of a name",
    "_request": "the end of a name",
    "_abc_": "the beginning of a name",
    "_cython_": "the beginning of a name",
    "_sklearn_auto_wrap_output_keys": "set by scikit-learn on each class that transforms",
    "_backward_cls": "set by torch on each function",
    "_abc_impl": "set by Python on each abstract class",
}
"""Names with an underscore that no library keeps to itself, or that hpo does not ask for."""


def is_private(name: str) -> bool:
    return re.fullmatch(r"_[A-Za-z]\w*", name) is not None


def test_every_private_part_is_in_the_table():
    assert found() - written() == set()


def test_nothing_is_in_the_table_that_is_not_used():
    text = "\n".join(path.read_text() for path in HPO.rglob("*.py"))
    assert {name for name in written() if not re.search(rf"\b{name}\b", text)} == set()


def written() -> set[str]:
    section = DESIGN.read_text().split("### Private parts of other libraries")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| ")]
    quoted = (text for row in rows for text in re.findall(r"`([^`]+)`", row))
    return {name for text in quoted for name in re.findall(r"\w+", text) if is_private(name)}


@cache
def found() -> frozenset[str]:
    names = set()
    for path in sorted(HPO.rglob("*.py")):
        tree = ast.parse(path.read_text())
        names |= {*imported(tree), *attributes(tree), *inherited(path, tree)}
    return frozenset(names - set(NO_PARTS))


@cache
def everywhere() -> frozenset[str]:
    """Names that hpo itself gives to something, and their modules."""
    names = {path.stem for path in HPO.rglob("*.py")} | {
        path.parent.name for path in HPO.rglob("*.py")
    }
    for path in HPO.rglob("*.py"):
        names |= own_names(ast.parse(path.read_text()))
    return frozenset(names)


def imported(tree: ast.AST) -> Iterator[str]:
    """Private modules, and names imported from modules, of other libraries."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            texts = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            texts = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for text in texts:
            if text.partition(".")[0] != "hpo":
                yield from filter(is_private, text.split("."))


def attributes(tree: ast.AST) -> Iterator[str]:
    """Private attributes that hpo does not make itself, also by their names in strings."""
    own, ours = own_names(tree), imported_from_hpo(tree)
    looked_up = {
        id(argument)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id in {"getattr", "hasattr", "private_part", "note_missing"}
        for argument in node.args
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            of = node.value.id if isinstance(node.value, ast.Name) else ""
            asked = [node.attr] if node.attr not in own and of not in {*ours, "self", "cls"} else []
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            asked = node.value.split(".") if re.fullmatch(r"[\w.]+", node.value) else []
            if id(node) not in looked_up and len(asked) == 1:  # perhaps a name of hpo's own
                asked = [name for name in asked if name not in everywhere()]
        else:
            continue
        yield from filter(is_private, asked)


def imported_from_hpo(tree: ast.AST) -> set[str]:
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hpo")
        for alias in node.names
    }


def own_names(tree: ast.AST) -> set[str]:
    """Names that are given to something in the module, or imported from another one of hpo's."""
    own = imported_from_hpo(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.arg):
            own.add(node.arg)
        elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.attr if isinstance(node, ast.Attribute) else node.id)
    return own


def inherited(path: Path, tree: ast.Module) -> Iterator[str]:
    """What the module's classes ask of themselves, or have anew, of a class of another library."""
    if path.name == "__main__.py":
        return
    parts = path.relative_to(HPO.parent).with_suffix("").parts
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.bases]
    if not classes:
        return
    module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
    for node in classes:
        cls = getattr(module, node.name, None)
        if not isinstance(cls, type):  # inside a function
            continue
        theirs = {name for base in cls.__mro__ if is_foreign(base) for name in vars(base)}
        asked = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)} | set(vars(cls))
        yield from filter(is_private, asked & theirs)


def is_foreign(cls: type) -> bool:
    library = cls.__module__.partition(".")[0]
    return library != "hpo" and library not in sys.stdlib_module_names
