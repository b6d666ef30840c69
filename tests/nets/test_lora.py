"""Adapters on any net: the same weights as by peft alone, and nothing of the base is touched."""

import copy
import pickle

import numpy as np
import pytest
import torch
from _lora_models import NAMES, LoRAClassifier, kind, mlp
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.data import DataLoader

from hpo.exceptions import DataError
from hpo.nets import AdaptedNet

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
]

STEPS = {"lr": 0.02, "batch_size": 8, "max_epochs": 3, "train_split": None, "verbose": 0}


def rows(X, chosen):
    if isinstance(X, dict):
        return {key: torch.as_tensor(value[chosen]) for key, value in X.items()}
    return torch.as_tensor(X[chosen])


def call(model, X):
    output = model(**X) if isinstance(X, dict) else model(X)
    return output.logits if hasattr(output, "logits") else output


def by_peft(of, seed=7, **config):
    """Return the trained parameters after a plain loop with peft, and the model."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    model = get_peft_model(copy.deepcopy(of.model), LoraConfig(**{**of.peft, **config}))
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.Adam(trained.values(), lr=STEPS["lr"])
    criterion = of.net().criterion()
    for _ in range(STEPS["max_epochs"]):
        for chosen in DataLoader(range(len(of.y)), batch_size=STEPS["batch_size"]):
            model.train()
            for layer in model.modules():
                if isinstance(layer, _NormBase):
                    layer.eval()
            optimizer.zero_grad()
            loss = criterion(call(model, rows(of.X, chosen)), torch.as_tensor(of.y[chosen]))
            loss.backward()
            optimizer.step()
    return {name: parameter.detach() for name, parameter in trained.items()}, model.eval()


def by_us(of, seed=7, **module):
    torch.manual_seed(seed)
    module = {"model": of.model, **of.ours, **module}
    params = {f"module__{name}": value for name, value in module.items()}
    net = of.net(optimizer=torch.optim.Adam, **params, **STEPS)
    return net.fit(of.X, of.y)


def trained_of(net):
    return {n.replace("/", "."): p.detach() for n, p in net.module_.trained.items()}


def assert_same_weights(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_are_those_of_peft_alone(name, tmp_path):
    from peft import PeftModel

    of = kind(name)
    dropout = 0.0 if name == "torch vit" else 0.1
    before = {key: value.clone() for key, value in of.model.state_dict().items()}
    config = {"r": 4, "lora_alpha": 12, "lora_dropout": dropout}
    theirs, their_model = by_peft(of, **config)
    net = by_us(of, lora_r=4, lora_alpha=12, lora_dropout=dropout)
    assert_same_weights(trained_of(net), theirs)
    assert any(parameter.abs().max() > 0.01 for n, parameter in theirs.items() if "lora_B" in n)

    net.save_adapter(tmp_path / "adapter")
    loaded = PeftModel.from_pretrained(copy.deepcopy(of.model), tmp_path / "adapter").eval()
    X = rows(of.X, slice(None))
    with torch.no_grad():
        ours = net.forward(of.X)
        torch.testing.assert_close(ours, call(their_model, X), rtol=0, atol=1e-5)
        if name != "torch vit":  # whose fast path in evaluation leaves peft's adapters out
            torch.testing.assert_close(ours, call(loaded, X), rtol=0, atol=1e-5)

    after = of.model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(parameter.requires_grad for parameter in of.model.parameters())
    base = net.module_._base.model.state_dict()
    assert all(torch.equal(before[key], base[key]) for key in before)


@pytest.mark.parametrize(
    "config",
    [
        {"use_rslora": True},
        {"use_dora": True},
        {"bias": "all"},
        {"bias": "lora_only"},
        {"init_lora_weights": "gaussian"},
        {"init_lora_weights": "pissa"},
        {"init_lora_weights": "olora"},
    ],
    ids=lambda config: "-".join(map(str, *config.items())),
)
@pytest.mark.parametrize("name", ["mlp", "vit"])
def test_each_option_is_that_of_peft(name, config, tmp_path):
    from peft import PeftModel

    of = kind(name)
    theirs, their_model = by_peft(of, r=4, lora_alpha=8, **config)
    net = by_us(of, r=4, **config)
    assert_same_weights(trained_of(net), theirs)
    net.save_adapter(tmp_path / "adapter")
    X = rows(of.X, slice(None))
    loaded = PeftModel.from_pretrained(copy.deepcopy(of.model), tmp_path / "adapter").eval()
    twin = pickle.loads(pickle.dumps(net))
    with torch.no_grad():
        ours = net.forward(of.X)
        torch.testing.assert_close(ours, call(their_model, X), rtol=0, atol=1e-5)
        torch.testing.assert_close(ours, call(loaded, X), rtol=0, atol=2e-5)
        assert torch.equal(twin.forward(of.X), ours)
    base = net.module_._base.model.state_dict()
    assert all(torch.equal(base[key], value) for key, value in of.model.state_dict().items())
    other = by_us(of, r=4)  # after one that changed its copy of the base
    assert_same_weights(trained_of(other), by_peft(of, r=4, lora_alpha=8)[0])


def test_dora_of_convolutions_is_that_of_peft():
    of = kind("conv of transformers")
    config = {"r": 2, "lora_alpha": 4, "use_dora": True}
    assert_same_weights(trained_of(by_us(of, **config)), by_peft(of, **config)[0])


@pytest.mark.parametrize("name", ["mlp", "vit", "conv of transformers"])
@pytest.mark.parametrize("method", ["head", "full"])
def test_head_and_full_train_what_they_say(name, method):
    of = kind(name)
    net = by_us(of, method=method)
    before = of.model.state_dict()
    after = net.module_.adapted.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    head = {"mlp": "5."}.get(name, "classifier.")
    if method == "head":
        assert changed == {key for key in before if key.startswith(head)}
        assert net.n_trained() == sum(before[key].numel() for key in changed)
    else:
        assert net.n_trained() == sum(p.numel() for p in of.model.parameters())
        assert len(changed) > 4
    assert not any("lora" in key for key in after)
    twin = pickle.loads(pickle.dumps(net))
    assert torch.equal(twin.forward(of.X), net.forward(of.X))
    assert net.recommendation() == ""
    with pytest.raises(ValueError, match="has no adapter"):
        net.save_adapter("nowhere")


def test_normalizations_that_are_trained_whole_go_along(tmp_path):
    """Their statistics are trained, kept in states and pickles, and loaded by peft."""
    from peft import PeftModel

    of = kind("conv of transformers")
    norms = [n for n, m in of.model.named_modules() if isinstance(m, nn.BatchNorm2d)]
    net = by_us(of, head=["classifier", norms[-1]])
    statistics = {n: b for n, b in net.module_.state_dict().items() if "running" in n}
    assert len(statistics) == 2
    base = net.module_._base.model.get_submodule(norms[-1])
    assert not torch.equal(next(iter(statistics.values())), base.running_mean)
    expected = net.forward(of.X)
    assert torch.equal(pickle.loads(pickle.dumps(net)).forward(of.X), expected)
    net.save_adapter(tmp_path / "adapter")
    loaded = PeftModel.from_pretrained(copy.deepcopy(of.model), tmp_path / "adapter").eval()
    with torch.no_grad():
        torch.testing.assert_close(call(loaded, torch.as_tensor(of.X)), expected)


@pytest.mark.parametrize("name", ["mlp", "vit"])
def test_four_bits(name):
    """Linear layers are stored in 4 bits, and the adapter learns."""
    of = kind(name)
    net = by_us(of, method="qlora", r=2)
    base = net.module_._base.model
    kinds = [type(layer).__name__ for layer in base.modules()]
    head = 1
    linear = sum(type(layer) is nn.Linear for layer in of.model.modules()) - head
    assert kinds.count("Linear4bit") == linear
    losses = net.history[:, "train_loss"]
    assert losses[-1] < losses[0]
    expected = net.forward(of.X)
    assert torch.equal(pickle.loads(pickle.dumps(net)).forward(of.X), expected)


def test_the_base_is_shared_by_equal_modules():
    of = kind("mlp")
    nets = [by_us(of, r=r) for r in (1, 2)]
    clone = by_us(of._replace(model=copy.deepcopy(of.model)), r=3)
    assert nets[0].module_._base is nets[1].module_._base is clone.module_._base
    with torch.no_grad():
        of.model[0].weight.add_(1.0)
    assert by_us(of).module_._base is not nets[0].module_._base


def test_a_function_makes_the_base_once():
    made = []

    def make():
        made.append(1)
        return mlp()

    of = kind("mlp")
    nets = [by_us(of, model=make, r=r) for r in (1, 2, 3)]
    assert len(made) == 1
    assert len({id(net.module_._base) for net in nets}) == 1


def test_a_folder_gets_a_new_head(tmp_path):
    of = kind("vit")
    of.model.save_pretrained(tmp_path)
    y = np.arange(20) % 5
    net = by_us(of._replace(y=y), model=str(tmp_path), n_outputs=5, r=2)
    assert net.predict_proba(of.X).shape == (20, 5)
    names = set(trained_of(net))
    assert "base_model.model.classifier.modules_to_save.default.weight" in names
    again = by_us(of._replace(y=y), model=str(tmp_path), n_outputs=5, r=2)
    assert_same_weights(trained_of(net), trained_of(again))
    assert "modules_to_save=['classifier']" in net.recommendation()


class Twice(nn.Module):
    """A module whose parts' names end alike."""

    def __init__(self):
        super().__init__()
        self.body = nn.ModuleDict({"a": nn.Linear(8, 8), "fc": nn.Linear(8, 8)})
        self.fc = nn.Linear(8, 3)

    def forward(self, X):
        return self.fc(self.body["fc"](self.body["a"](X)))


class Dilated(nn.Module):
    """A convolution that peft's adapter would not follow."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, dilation=2, padding=2)
        self.grouped = nn.Conv2d(4, 4, 3, groups=2, padding=1)
        self.circular = nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")
        self.head = nn.Linear(4, 3)


CASES = [
    ("mlp", {"r": 0}, r"r must be at least 1\. Got 0"),
    ("mlp", {"r": 2.5}, r"r must be at least 1\. Got 2\.5"),
    ("mlp", {"r": 2, "lora_r": 2}, r"r and lora_r are the same"),
    ("mlp", {"scale": 1.0, "lora_alpha": 8}, r"scale is lora_alpha / r\. Give scale or"),
    ("mlp", {"lora_alpha": 0}, r"lora_alpha must be greater than 0\. Got 0"),
    ("mlp", {"lora_dropout": 1.0}, r"lora_dropout must be from 0 to below 1"),
    ("mlp", {"bias": "some"}, r"bias must be one of: none, all, lora_only\. Got 'some'"),
    ("mlp", {"init_lora_weights": "pisa"}, r"init_lora_weights must be one of.*did you mean"),
    ("mlp", {"init_lora_weights": "pissa", "use_dora": True}, r".*do not go together"),
    ("mlp", {"init_lora_weights": "pissa", "r": 9}, r"The layer '0' .*at most its smaller side, 8"),
    ("mlp", {"target_modules": ["nowhere"]}, r"Target modules 'nowhere' not found in Sequential"),
    ("mlp", {"target_modules": ["0", "5"]}, r"Target modules '5' are in the head of Sequential"),
    ("mlp", {"target_modules": ["1"]}, r"The layer '1' cannot have an adapter: it is a ReLU"),
    ("mlp", {"target_modules": "all-conv"}, r".*matches no layer of Sequential.*'all-linear' \(2"),
    ("mlp", {"target_modules": "("}, r".*nor a regular expression"),
    ("mlp", {"target_modules": []}, r"target_modules must be a word"),
    ("mlp", {"head": ["6"]}, r"head names '6', which Sequential does not have"),
    ("mlp", {"head": "5"}, r"head must be a list of names"),
    (
        "mlp",
        {"method": "lore"},
        r"method must be one of: lora, qlora, head, full\. Got 'lore', did",
    ),
    ("mlp", {"task": "causal-lm"}, r"task and n_outputs are for a model that is loaded"),
    ("conv", {"target_modules": "all-linear"}, r".*matches no layer of ResNet.*'all-conv' \(12"),
    ("conv", {"method": "qlora", "target_modules": "all-conv"}, r"method='qlora' stores linear"),
    ("conv", {"init_lora_weights": "pissa"}, r".*takes linear layers alone"),
    ("vit", {"target_modules": "q_proj"}, r".*give names as a list"),
    ("torch vit", {"lora_dropout": 0.1}, r"The layer .*lora_dropout does not act in nn\.Multi"),
    ("torch vit", {"use_dora": True}, r"The layer .*use_dora is not defined for nn\.Multi"),
    ("torch vit", {"target_modules": ["out_proj"]}, r"The layer .*Give 'encoder.*attention' inst"),
]


@pytest.mark.parametrize(("name", "params", "message"), CASES)
def test_what_is_impossible_is_refused_by_name(name, params, message):
    of = kind(name)
    with pytest.raises(ValueError, match=f"^{message}"):
        AdaptedNet(of.model, **{**of.ours, **params})


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (None, ValueError, r"model must be a torch module, a function .* Got None \(NoneType\)"),
        (3, ValueError, r"model must be a torch module"),
        (nn.ReLU(), ValueError, r"The model ReLU has no weights that could be adapted"),
        (lambda: 3, DataError, r"The model must be a torch module\. <lambda>\(\) returned a int"),
        (Twice.__init__, DataError, r"The model cannot be made: __init__\(\) raised TypeError"),
        ("/no/such/folder", DataError, r"The model .* cannot be loaded: there is no such folder"),
        (__file__, DataError, r"The model .* cannot be loaded: it is a file\. Load it by torch"),
        ("nobody/has-this-model", DataError, r"The model 'nobody/has-this-model' cannot be load"),
    ],
)
def test_a_wrong_model_is_told(model, error, message):
    with pytest.raises(error, match=f"^{message}"):
        AdaptedNet(model)


def test_a_folder_of_another_kind_is_told(tmp_path):
    with pytest.raises(DataError, match=r"has no config\.json, so it holds no model"):
        AdaptedNet(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(DataError, match=r"holds an adapter of peft\. Give the model"):
        AdaptedNet(tmp_path)
    (tmp_path / "bert").mkdir()
    kind("tokens").model.save_pretrained(tmp_path / "bert")
    with pytest.raises(ValueError, match=r"task must be one of: sequence-class.*did you mean"):
        AdaptedNet(tmp_path / "bert", task="sequence_classification")
    with pytest.raises(DataError, match=r"has no weights for 2 of the frozen parts of BertForSeq"):
        AdaptedNet(tmp_path / "bert", task="sequence-classification")
    module = AdaptedNet(
        tmp_path / "bert", task="sequence-classification", head=["classifier", "bert.pooler"]
    )
    assert module.head == ("classifier", "bert.pooler")


def test_an_adapted_model_is_refused():
    of = kind("mlp")
    with pytest.raises(ValueError, match=r"has an adapter already\. Give its base"):
        AdaptedNet(by_us(of).module_.adapted)


def test_names_that_end_alike_are_told():
    with pytest.raises(ValueError, match=r"peft finds the head fc by the end of its name"):
        AdaptedNet(Twice())
    module = AdaptedNet(Twice(), head=[], target_modules=["body.fc"], r=1)
    assert len(module.trained) == 2


@pytest.mark.parametrize(("layer", "why"), [("conv", "dilated"), ("grouped", "grouped"),
                                            ("circular", "pads by 'circular'")])  # fmt: skip
def test_convolutions_that_an_adapter_cannot_follow(layer, why):
    with pytest.raises(ValueError, match=f"^The layer '{layer}' cannot have an adapter.*{why}"):
        AdaptedNet(Dilated(), target_modules=[layer])


def test_other_modules_are_refused_by_the_mixin():
    net = LoRAClassifier(mlp, criterion=nn.CrossEntropyLoss)
    with pytest.raises(ValueError, match=r"must be AdaptedNet, whose module__model is .* Got mlp"):
        net.initialize()


def test_token_loss_checks_shapes():
    from hpo.nets import TokenLoss

    with pytest.raises(ValueError, match=r"Got \(2, 3\) and \(2,\)"):
        TokenLoss()(torch.zeros(2, 3), torch.zeros(2))
