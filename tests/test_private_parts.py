"""What of other libraries is used though it is not public: all of it is written down, and may go.

The table is in docs/design.md. Of each part a test takes it away and runs the default study.
"""

import ast
import importlib
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, get_scorer, log_loss, make_scorer
from sklearn.model_selection import GridSearchCV
from skorch import NeuralNetClassifier
from torch import nn

from hpo import HPOSearchCV, Study, _private_parts, _skorch_parts, run_study
from hpo._private_parts import MissingPartWarning
from hpo.backends.ray import cluster
from hpo.data import load_digits
from hpo.executors.fused import supported
from hpo.fused import NotFusibleError
from hpo.fused._compiling import compiled
from hpo.identity import _objects
from hpo.training import callbacks, scorer_parts
from hpo.training.indexing import take

pytestmark = pytest.mark.slow

HPO = Path(__file__).parent.parent / "hpo"
DESIGN = HPO.parent / "docs" / "design.md"

NO_PARTS = {
    "_fields": "documented, of named tuples",
    "_exit": "documented, of os",
    "_getframe": "documented, of sys",
    "_batch_count": "the end of a name",
    "_error": "the end of a name",
    "_gain_se": "the end of a name",
    "_refit": "the end of a name",
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
            asked = node.value.split(".") if re.fullmatch(r"\w[\w.]*", node.value) else []
            asked = asked if asked[:1] != ["hpo"] else []
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


# -- each part taken away ---------------------------------------------------------------------


@pytest.fixture(autouse=True)
def unnoted(monkeypatch):
    monkeypatch.setattr(_private_parts, "_noted", {})


@pytest.fixture
def take_away(monkeypatch):
    """Make a part be gone, as far as hpo can see: the library itself may need it."""
    real = _private_parts._found

    def gone(module, name):
        monkeypatch.setattr(
            _private_parts,
            "_found",
            lambda m, n: None if (m, n) == (module, name) else real(m, n),
        )

    return gone


def net(**options):
    return NeuralNetClassifier(
        nn.Linear,
        module__in_features=64,
        module__out_features=10,
        criterion=nn.CrossEntropyLoss,
        max_epochs=1,
        train_split=None,
        verbose=0,
        **options,
    )


def default_study(**options):
    data = load_digits()
    space = {"lr": {"type": "float", "low": 0.01, "high": 1.0, "log": True}}
    parts = dict(name="d", estimator=net(), search_space=space, data=data, cv=2, n_trials=2)
    return run_study(Study(**{**parts, "storage": None, "tracker": "null", **options}))


LOOKED_UP = [
    ("optuna.samplers", "GPSampler._sample_relative_impl"),
    ("ray._private.services", "get_ray_address_from_environment"),
    ("ray._private.ray_constants", "ENABLE_RAY_CLUSTER"),
    ("sklearn.base", "_fit_context"),
    ("sklearn.utils._param_validation", "Interval"),
    ("sklearn.utils._param_validation", "StrOptions"),
    ("torch._guards", "TracingContext"),
    ("torch._guards", "tracing"),
    ("torch._inductor", "compile"),
    ("torch._subclasses", "FakeTensorMode"),
]


@pytest.mark.parametrize(("module", "name"), LOOKED_UP)
def test_without_a_part_that_it_does_not_need_the_default_study_runs(module, name, take_away):
    assert _private_parts.private_part(module, name, "it is not") is not None
    take_away(module, name)
    assert default_study().best_record.reports
    with pytest.warns(MissingPartWarning, match=rf" has no {re.escape(f'{module}.{name}')}: it is"):
        assert _private_parts.private_part(module, name, "it is not") is None


def test_without_scikit_learns_indexing_the_default_study_is_the_same(take_away):
    before = default_study()
    take_away("sklearn.utils", "_safe_indexing")
    told = r"^sklearn [0-9.]+ has no sklearn\.utils\._safe_indexing: rows are taken as NumPy"
    result = default_study()
    assert any(re.search(told, note) for note in result.notes)
    assert [r.value for r in result.records] == [r.value for r in before.records]
    rows = np.array([2, 0])
    assert take([1, 2, 3], rows) == [3, 1]
    assert take(np.arange(3), rows).tolist() == [2, 0]


GP = "gp:n_startup_trials=2,random_share=0"


def test_without_optunas_hook_gp_is_its_own(take_away):
    take_away("optuna.samplers", "GPSampler._sample_relative_impl")
    with pytest.warns(MissingPartWarning, match="the Gaussian process is Optuna's own"):
        assert default_study(
            sampler="gp:n_startup_trials=2,random_share=0", n_trials=4
        ).best_record.reports


def test_with_another_hook_of_optunas_gp_is_its_own(monkeypatch):
    from optuna.samplers import GPSampler

    hook = GPSampler._sample_relative_impl

    def other(self, study, complete, running, space):
        return hook(self, study, complete, running, space)

    monkeypatch.setattr(GPSampler, "_sample_relative_impl", other)
    with pytest.warns(MissingPartWarning, match="the Gaussian process is Optuna's own"):
        assert default_study(
            sampler="gp:n_startup_trials=2,random_share=0", n_trials=4
        ).best_record.reports


def test_without_rays_search_for_a_cluster_ray_searches(take_away):
    take_away("ray._private.services", "get_ray_address_from_environment")
    with pytest.warns(MissingPartWarning, match="Ray looks for a cluster itself"):
        assert cluster._found(None, "auto") == "auto"


def test_without_rays_switch_it_is_told_that_others_may_reach_it(take_away):
    take_away("ray._private.ray_constants", "ENABLE_RAY_CLUSTER")
    with pytest.warns(MissingPartWarning, match="keep its ports closed"), cluster._on_loopback():
        pass


def test_without_torchs_inner_parts_a_graph_is_compiled_by_torch_compile(take_away, monkeypatch):
    take_away("torch._inductor", "compile")
    asked = []
    monkeypatch.setattr(torch, "compile", lambda graph, **options: asked.append(options) or graph)
    graph = torch.fx.symbolic_trace(nn.Identity())
    with pytest.warns(MissingPartWarning, match="`torch.compile` is used"):
        program = compiled(graph, [torch.zeros(2)], {"layout_optimization": False})
    assert asked == [{"dynamic": False, "options": {"layout_optimization": False}}]
    assert program(torch.ones(2)).tolist() == [1.0, 1.0]


class Bare:
    """A net of a skorch that has none of the private methods."""

    def __init__(self):
        self.module_, self.criterion_ = nn.Linear(2, 1), nn.MSELoss()
        self.optimizer_ = torch.optim.SGD(self.module_.parameters(), lr=1.0)


def test_without_skorchs_private_methods_a_net_trains():
    bare = Bare()
    with pytest.warns(MissingPartWarning, match="has no NeuralNet._set_training: only the net's"):
        _skorch_parts.set_training(bare, False)
    assert not bare.module_.training
    assert not bare.criterion_.training
    bare.module_(torch.ones(1, 2)).sum().backward()
    before = bare.module_.weight.tolist()
    with pytest.warns(MissingPartWarning, match="has no NeuralNet._step_optimizer"):
        _skorch_parts.step(bare)
    assert bare.module_.weight.tolist()[0] == pytest.approx([w - 1 for w in before[0]])
    with pytest.warns(MissingPartWarning, match="has no NeuralNet._zero_grad_optimizer"):
        _skorch_parts.zero_grad(bare)
    assert bare.module_.weight.grad is None
    with pytest.warns(MissingPartWarning, match="_get_predict_nonlinearity: asked otherwise"):
        assert _skorch_parts.predict_nonlinearity(bare, "asked otherwise") is None
    assert _skorch_parts.parts_of(bare, "modules") is None


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("parts_of", lambda net, kind: None, "which modules a net has: it has no NeuralNet._mod"),
        ("_WEIGHT_HOOKS", ("_gone",), "whether a weight has hooks: it has no Tensor._gone"),
        (
            "nn",
            SimpleNamespace(modules=SimpleNamespace(module=SimpleNamespace())),
            "whether there are hooks: it has no nn.modules.module._global_forward_hooks",
        ),
    ],
)
def test_what_cannot_be_told_is_not_fused(place, value, told, monkeypatch):
    monkeypatch.setattr(supported, place, value)
    ready = net().initialize()

    def check():
        supported._check_parts(ready)
        supported.check_module(ready.module_)

    with (
        pytest.warns(MissingPartWarning, match="no net is fused, and trials go to worker"),
        pytest.raises(NotFusibleError, match=re.escape(told)),
    ):
        check()
    assert default_study().best_record.reports


def test_callbacks_have_the_names_that_skorch_gives_them():
    from skorch.callbacks import EpochScoring, EpochTimer, LRScheduler, PrintLog

    given = [
        PrintLog(),
        ("mine", LRScheduler()),
        EpochTimer,
        EpochScoring("accuracy", name="a"),
        EpochScoring("accuracy", name="b"),
    ]
    ready = net(callbacks=given).initialize()
    assert [name for name, _ in callbacks._named(ready)] == [name for name, _ in ready.callbacks_]


def test_without_torchs_tables_a_module_is_described_by_its_public_parts():
    module = nn.Linear(2, 1)
    with pytest.warns(MissingPartWarning, match="has no Module._gone: the parts of a module that"):
        table = _objects._table_of(module, "_gone", module.named_parameters(recurse=False))
    assert dict(table) == dict(module.named_parameters())


def test_without_the_function_of_a_scorer_nothing_is_told_of_it():
    scorer = get_scorer("accuracy")
    assert scorer_parts.scores_by(scorer, accuracy_score)
    assert scorer_parts.is_the_scorer(scorer, "accuracy")
    assert not scorer_parts.is_the_scorer(scorer, "balanced_accuracy")
    other_sign = make_scorer(log_loss, response_method="predict_proba")
    assert not scorer_parts.is_the_scorer(other_sign, "neg_log_loss")

    def accuracy_score_of_the_user(y, predicted):
        return 0.5

    accuracy_score_of_the_user.__name__ = "accuracy_score"
    theirs = make_scorer(accuracy_score_of_the_user)
    assert repr(theirs) == repr(scorer)
    assert not scorer_parts.is_the_scorer(theirs, "accuracy")
    assert scorer_parts.asked_methods(scorer) == ("predict",)
    del scorer._score_func, scorer._response_method
    with pytest.warns(MissingPartWarning, match="scores are computed trial by trial"):
        assert not scorer_parts.scores_by(scorer, accuracy_score)
    with pytest.warns(MissingPartWarning, match="scorers are not checked beforehand"):
        assert scorer_parts.asked_methods(scorer) == ()


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("_get_scorers", "refit is checked after the search"),
        ("_get_routed_params_for_fit", "sample_weight goes to the scorers only"),
    ],
)
@pytest.mark.parametrize("scoring", [None, ["accuracy", "f1_macro"]])
def test_without_a_hook_of_scikit_learns_a_search_runs(part, told, scoring, monkeypatch):
    monkeypatch.delattr(GridSearchCV.__bases__[0], part)
    data = load_digits()
    search = HPOSearchCV(
        LogisticRegression(max_iter=20, tol=1.0),
        {"C": [0.1, 1.0]},
        n_trials=2,
        cv=2,
        scoring=scoring,
        refit="accuracy" if scoring else True,
    )
    with pytest.warns(UserWarning, match=told):  # where it is used, and of the study's notes
        search.fit(data.X[:300], data.y[:300])
    assert search.best_index_ in (0, 1)
    assert default_study().best_record.reports


ALL_GONE = """
    import warnings
    import optuna, ray._private.ray_constants, ray._private.services
    import sklearn.base, sklearn.utils, sklearn.utils._param_validation
    import sklearn.datasets, sklearn.linear_model, sklearn.model_selection, sklearn.pipeline
    import skorch, skorch.callbacks, skorch.helper
    import sys, torch._guards, torch._inductor, torch._subclasses
    import hpo.search_cv, hpo.study  # and with it what of these libraries needs its own parts

    for name in [name for name in sys.modules if name.partition(".")[0] == "hpo"]:
        del sys.modules[name]
    del optuna.samplers.GPSampler._sample_relative_impl
    del ray._private.ray_constants.ENABLE_RAY_CLUSTER
    del sklearn.base._fit_context, sklearn.utils._safe_indexing
    del sklearn.model_selection.GridSearchCV.__bases__[0]._get_routed_params_for_fit
    del torch._inductor.compile
    from hpo import _private_parts  # scikit-learn itself looks the next two up at each call

    real, checks = _private_parts._found, "sklearn.utils._param_validation"
    _private_parts._found = lambda m, name: None if m == checks else real(m, name)
    warnings.simplefilter("always")
    from hpo import HPOSearchCV, Study, run_study
    from hpo.data import load_digits
    from hpo.nets import RegularizedClassifier
    from torch import nn

    net = RegularizedClassifier(
        nn.Linear, module__in_features=64, module__out_features=10, max_epochs=2,
        criterion=nn.CrossEntropyLoss, train_split=None, verbose=0,
    )
    space = {"lr": {"type": "float", "low": 0.01, "high": 1.0, "log": True}}
    data = load_digits()
    study = Study(
        name="d", estimator=net, search_space=space, data=data, n_trials=3, storage=None,
        tracker="null",
    )
    assert run_study(study).best_record.reports
    HPOSearchCV(net, space, n_trials=2, cv=2).fit(data.X, data.y)
"""


def test_without_any_of_them_hpo_is_imported_and_runs():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ALL_GONE)],
        check=False,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    gone = [
        "_safe_indexing",
        "_fit_context",
        "Interval",
        "StrOptions",
        "_get_routed_params_for_fit",
    ]
    for part in gone:
        assert re.search(rf"sklearn [0-9.]+ has no \S*{part}: ", done.stderr), part
