"""The module: what is shared, what is trained, what is left behind."""

import copy
import io
import pickle
import weakref

import numpy as np
import pytest
import torch

from hpo.exceptions import DataError
from hpo.nets import AdaptedCausalLM, CausalLMNet, NextTokenLoss
from hpo.nets._base_models import Source, forget_base_model, shared_base

pytestmark = pytest.mark.slow

ADAPTERS = ["lora", "qlora"]
METHODS = [*ADAPTERS, "full"]


def adapted(tiny, **kwargs):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AdaptedCausalLM(tiny, **kwargs)


def stirred(module):
    """Return ``module`` with something in its adapter's matrices B, which begin at 0."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return module


def base_of(tiny, method="lora"):
    return shared_base(Source.of(tiny, "float32", method == "qlora", "cpu"))


def bits(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def train(tiny, blocks, seed=0, **params):
    """Return what a training comes to: its scores and its weights."""
    torch.manual_seed(seed)
    net = CausalLMNet(
        module__model=tiny,
        module__lora_dropout=0.2,
        max_epochs=2,
        lr=0.01,
        batch_size=6,
        iterator_train__shuffle=True,
        verbose=0,
    ).set_params(**params)
    scores = []
    for _ in range(2):
        net.partial_fit(blocks[:18], blocks[:18])
        scores.append(net.score(blocks[18:]))
    return scores, bits(net.module_)


@pytest.mark.parametrize("method", METHODS)
def test_a_trial_after_others_is_the_trial_alone(tiny, blocks, method):
    forget_base_model()
    alone = train(tiny, blocks, module__method=method)
    train(tiny, blocks, seed=1, module__r=3, module__target_modules="attention")
    train(tiny, blocks, seed=2, module__method="qlora", module__use_rslora=True)
    after = train(tiny, blocks, module__method=method)
    assert alone[0] == after[0]
    assert same(alone[1], after[1])


@pytest.mark.parametrize("method", ADAPTERS)
def test_the_base_is_loaded_once_and_nothing_is_left_on_it(tiny, blocks, method):
    base = base_of(tiny, method)
    before, modules = bits(base.model), [type(m) for m in base.model.modules()]
    train(tiny, blocks, module__method=method)
    assert base_of(tiny, method) is base
    assert same(bits(base.model), before)
    assert [type(m) for m in base.model.modules()] == modules
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    assert not any(getattr(m, name) for m in base.model.modules() for name in hooks)
    assert not any(p.requires_grad or p.grad is not None for p in base.model.parameters())


@pytest.mark.parametrize("method", ADAPTERS)
def test_adapters_share_the_weights_of_the_base(tiny, method):
    base = base_of(tiny, method)
    first, second = (adapted(tiny, method=method) for _ in range(2))
    theirs = {parameter.data_ptr() for parameter in base.model.parameters()}
    for module in (first, second):
        frozen = [p for p in module.lm.parameters() if not p.requires_grad]
        assert {parameter.data_ptr() for parameter in frozen} == theirs
    assert not {id(p) for p in first.parameters()} & {id(p) for p in second.parameters()}


def test_each_full_fine_tuning_has_weights_of_its_own(tiny):
    base = base_of(tiny)
    before = bits(base.model)
    first, second = (adapted(tiny, method="full") for _ in range(2))
    stirred(first)
    assert same(bits(base.model), before)
    assert sum(p.numel() for p in second.parameters()) == base.model.num_parameters()
    assert same(bits(second.lm), before)


def test_one_base_is_kept_and_others_live_while_they_are_used(tiny):
    plain = weakref.ref(base_of(tiny))
    module = adapted(tiny)
    quantized = weakref.ref(base_of(tiny, "qlora"))
    assert plain() is base_of(tiny) is module._base
    del module
    assert plain() is not None
    assert quantized() is None
    forget_base_model()
    assert plain() is None


@pytest.mark.parametrize("method", METHODS)
def test_what_a_module_has_is_freed_with_it(tiny, blocks, method):
    net = CausalLMNet(module__model=tiny, module__method=method, max_epochs=1, verbose=0)
    net.fit(blocks, blocks).score(blocks)
    parameters = [weakref.ref(parameter) for parameter in net.module_.parameters()]
    del net
    assert not any(parameter() is not None for parameter in parameters)


@pytest.mark.parametrize("method", METHODS)
def test_the_untrained_model_is_the_pretrained_one(tiny, blocks, method):
    X = torch.as_tensor(blocks)
    module = adapted(tiny, method=method).eval()
    with torch.no_grad():
        expected = base_of(tiny, method).model(X).logits
        torch.testing.assert_close(module(X), expected)
        stirred(module)
        assert not torch.allclose(module(X), expected)
        with module.pretrained() as before:
            assert torch.equal(before.eval()(X), expected)
    assert all(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_parameters_and_state_are_what_is_trained(tiny, method):
    module = adapted(tiny, method=method)
    trained = {id(p) for p in module.lm.parameters() if p.requires_grad}
    assert {id(p) for p in module.parameters()} == trained
    assert {value.data_ptr() for value in module.state_dict().values()} == {
        p.data_ptr() for p in module.parameters()
    }
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    other = stirred(adapted(tiny, method=method))
    other.load_state_dict(module.state_dict())
    assert same(bits(other), bits(module))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_computes_the_same_and_is_trained_alone(tiny, blocks, method, copied):
    X = torch.as_tensor(blocks)
    module = stirred(adapted(tiny, method=method, r=4, scale=3.0)).eval()
    state = torch.get_rng_state()
    twin = copied(module)
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        expected = module(X)
        assert torch.equal(twin(X), expected)
        stirred(twin)
        assert torch.equal(module(X), expected)
        assert not torch.allclose(twin(X), expected)
    assert twin._base is module._base


def test_a_pickle_holds_no_base(tiny):
    module = adapted(tiny, r=1, target_modules=["q_proj"])
    # names of 4 parameters and what torch writes around each; the base has 13,000 weights
    assert len(pickle.dumps(module)) < 4 * 4 * module_size(module) + 4000
    assert 4 * base_of(tiny).model.num_parameters() > 50_000


def module_size(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_an_optimizer_in_the_same_pickle_trains_the_same_weights(tiny, blocks):
    X = torch.as_tensor(blocks)
    module = adapted(tiny)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    module, optimizer = pickle.loads(pickle.dumps((module, optimizer)))
    with torch.no_grad():
        before = module.eval()(X)
    module(X).square().mean().backward()
    optimizer.step()
    with torch.no_grad():
        assert not torch.allclose(module(X), before)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft's own call
@pytest.mark.parametrize("method", ADAPTERS)
def test_a_saved_adapter_is_loaded_by_peft(tiny, blocks, tmp_path, method):
    from peft import PeftModel

    module = stirred(adapted(tiny, method=method, r=4, use_rslora=True)).eval()
    module.save_adapter(tmp_path / "adapter")
    view = base_of(tiny, method).view()
    theirs = PeftModel.from_pretrained(view, tmp_path / "adapter").eval()
    X = torch.as_tensor(blocks)
    with torch.no_grad():
        assert torch.equal(theirs(X).logits, module(X))
    assert theirs.peft_config["default"].base_model_name_or_path == str(tiny)


def test_full_fine_tuning_has_no_adapter(tiny, tmp_path):
    module = adapted(tiny, method="full")
    with pytest.raises(ValueError, match=r"^Full fine-tuning has no adapter. Save the model: lm"):
        module.save_adapter(tmp_path)
    with pytest.raises(ValueError, match=r"^Full fine-tuning has no adapter. Use method="):
        module.lora_config()


@pytest.mark.parametrize(("use_rslora", "factor"), [(False, 3.0), (True, 6.0)])
def test_the_scale_is_alpha_over_r(tiny, use_rslora, factor):
    module = adapted(tiny, r=4, scale=3.0, use_rslora=use_rslora)
    config = module.lora_config()
    assert (config.r, config.lora_alpha, config.use_rslora) == (4, 12, use_rslora)
    layer = module.lm.base_model.model.model.layers[0].self_attn.q_proj
    assert layer.scaling["default"] == factor


@pytest.mark.parametrize(
    ("target_modules", "per_layer"),
    [
        ("attention", {"q_proj", "k_proj", "v_proj", "o_proj"}),
        (
            "all-linear",
            {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
        ),
        (["q_proj", "v_proj"], {"q_proj", "v_proj"}),
        (r".*\.mlp\..*_proj", {"gate_proj", "up_proj", "down_proj"}),
    ],
)
@pytest.mark.parametrize("method", ADAPTERS)
def test_the_adapter_is_put_where_it_is_wanted(tiny, method, target_modules, per_layer):
    module = adapted(tiny, method=method, target_modules=target_modules)
    names = [name.split("/")[-4] for name in module.trained if "lora_A" in name]
    assert len(names) == 2 * len(per_layer)
    assert set(names) == per_layer


def test_attention_is_told_from_layers_of_the_same_name(tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=16, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)  # both parts have a layer c_proj
    module = AdaptedCausalLM(tmp_path, target_modules="attention", r=1)
    assert module.lora_config().target_modules == {"c_attn", "attn.c_proj"}
    assert module_size(module) == (8 + 24) + (8 + 8)


def test_bfloat16_is_the_dtype_of_the_base_and_not_of_what_is_trained(tiny, blocks):
    X = torch.as_tensor(blocks)
    for method in METHODS:
        module = adapted(tiny, method=method, dtype="bfloat16")
        assert {p.dtype for p in module.parameters()} == {torch.float32}
        logits = module.eval()(X)
        assert logits.dtype == torch.bfloat16
        exact = adapted(tiny, method=method).eval()(X)
        losses = [NextTokenLoss()(part, X).item() for part in (logits, exact)]
        assert losses[0] == pytest.approx(losses[1], rel=0.01)
    base = shared_base(Source.of(tiny, "bfloat16", False, "cpu"))
    assert {p.dtype for p in base.model.parameters()} == {torch.bfloat16}


def test_the_quantized_base_takes_four_bits_a_weight(tiny):
    plain = {n: p for n, p in base_of(tiny).model.named_parameters() if "_proj" in n}
    base = base_of(tiny, "qlora")
    for name, weight in base.model.named_parameters():
        if name in plain:
            assert weight.dtype == torch.uint8
            assert weight.numel() == plain[name].numel() / 2
        else:  # embedding and head, which are one here, and normalizations
            assert weight.dtype == torch.float32


def gradients(module, X):
    module.zero_grad()
    module.train()(X).square().mean().backward()
    return [parameter.grad.clone() for parameter in module.parameters()]


def test_an_evaluation_changes_no_later_gradient_of_a_quantized_model(tiny, blocks):
    X = torch.as_tensor(blocks)
    module = stirred(adapted(tiny, method="qlora"))
    before = gradients(module, X)
    with torch.no_grad():
        module.eval()(X)
    for a, b in zip(before, gradients(module, X), strict=True):
        assert torch.equal(a, b)


def test_loading_draws_no_random_number(tiny):
    forget_base_model()
    state = torch.get_rng_state()
    base_of(tiny)
    AdaptedCausalLM(tiny, method="full")
    assert torch.equal(torch.get_rng_state(), state)


def test_two_ways_to_write_a_folder_are_one_base(tiny, monkeypatch):
    monkeypatch.chdir(tiny.parent)
    assert Source.of(tiny.name, "float32", False, "cpu") == Source.of(tiny, "float32", False, "cpu")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"r": 0}, r"r must be at least 1\. Got 0"),
        ({"scale": 0.0}, r"scale must be greater than 0\. Got 0\.0"),
        ({"lora_dropout": 1.0}, r"lora_dropout must be from 0 to below 1\. Got 1\.0"),
        ({"method": "qlroa"}, r"method must be one of: full, lora, qlora\. Got 'qlroa', did you"),
        ({"dtype": "float16"}, r"dtype must be one of: float32, bfloat16\. Got 'float16'"),
        ({"target_modules": ["nowhere"]}, r"Target modules .*nowhere.* not found"),
    ],
)
def test_what_is_out_of_range_is_refused(tiny, params, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        adapted(tiny, **params)


def test_a_model_that_is_nowhere_is_told(tmp_path):
    with pytest.raises(DataError, match=r"^The model '.*' cannot be loaded\. Give a folder"):
        AdaptedCausalLM(tmp_path)


def test_weights_that_a_checkpoint_lacks_are_the_same_in_each_process(tiny, tmp_path):
    from safetensors.torch import load_file, save_file

    for file in tiny.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tiny / "model.safetensors")
    del weights["model.layers.0.mlp.up_proj.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    drawn = []
    for seed in (1, 2):
        forget_base_model()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            drawn.append(bits(base_of(tmp_path).model))
    assert same(*drawn)


def test_a_state_dict_goes_through_torch_load(tiny):
    module = stirred(adapted(tiny))
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other = adapted(tiny)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert same(bits(other), bits(module))
    assert np.isfinite(sum(v.sum().item() for v in bits(other).values()))
