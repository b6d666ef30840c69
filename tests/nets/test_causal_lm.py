"""The net: loss, score, metrics, and a search over it."""

import math
import subprocess
import sys
import weakref

import pytest
import torch
from sklearn.base import clone

from hpo import Study, run_study
from hpo.data import ContiguousHoldout, StudyData
from hpo.nets import CausalLMNet, causal_lm_scores, neg_log_perplexity
from hpo.nets import causal_lm as module_of_the_net
from hpo.nets._base_models import load
from hpo.training.objective import Objective
from hpo.trial import Trial


def net_of(tiny, **kwargs):
    defaults = dict(
        module__model=tiny,
        module__r=4,
        lr=0.01,
        batch_size=6,
        max_epochs=3,
        iterator_train__shuffle=True,
        verbose=0,
    )
    return CausalLMNet(**{**defaults, **kwargs})


def fitted(tiny, blocks, **kwargs):
    torch.manual_seed(0)
    return net_of(tiny, **kwargs).fit(blocks[:18], blocks[:18])


def weights(net):
    return torch.cat([p.detach().ravel() for p in net.module_.parameters()])


def test_the_loss_is_that_of_transformers(tiny, blocks):
    net = net_of(tiny).initialize()
    X = torch.as_tensor(blocks)
    model = load(net.module_.source).eval()
    with torch.no_grad():
        expected = model(input_ids=X, labels=X).loss.item()
    assert neg_log_perplexity(net, blocks) == pytest.approx(-expected, rel=1e-6)


def test_the_score_does_not_depend_on_the_batches_or_on_dropout(tiny, blocks):
    net = fitted(tiny, blocks, module__lora_dropout=0.5)
    scores = [net.set_params(batch_size=n).score(blocks[:17]) for n in (17, 5, 1)]
    assert scores == pytest.approx([scores[0]] * 3, rel=1e-6)
    assert net.score(blocks[:17], blocks[:17]) == scores[2]


@pytest.mark.parametrize("method", ["lora", "qlora", "full"])
def test_it_learns(tiny, blocks, method):
    net = fitted(tiny, blocks, module__method=method, max_epochs=8)
    scores = causal_lm_scores(net, blocks[18:])
    assert scores["perplexity"] < 0.5 * scores["perplexity_before"]
    assert scores["neg_log_perplexity"] == -math.log(scores["perplexity"])


def test_the_figures(tiny, blocks):
    net = fitted(tiny, blocks, module__target_modules=["q_proj"])
    metrics = net.metrics()
    assert metrics["trainable_parameters"] == 2 * 4 * (32 + 32)
    assert metrics["tokens_per_second"] == 3 * 18 * 12 / net._seconds
    assert 1e7 < metrics["peak_memory_bytes"] < 1e11
    assert math.isnan(net_of(tiny).initialize().metrics()["tokens_per_second"])
    assert next(iter(causal_lm_scores(net, blocks))) == "neg_log_perplexity"


def test_the_pretrained_model_is_scored_once_for_the_same_blocks(tiny, blocks, monkeypatch):
    monkeypatch.setattr(module_of_the_net, "_losses_before", known := {})
    nets = [fitted(tiny, blocks, module__r=r) for r in (1, 2)]
    before = [causal_lm_scores(net, blocks[18:])["perplexity_before"] for net in nets]
    assert before[0] == before[1] == math.exp(next(iter(known.values())))
    causal_lm_scores(nets[0], blocks[17:])
    assert len(known) == 2


def test_an_endless_loss_is_an_infinite_perplexity(tiny, blocks):
    net = fitted(tiny, blocks)
    with torch.no_grad():
        for parameter in net.module_.parameters():
            parameter.fill_(1e20)
    scores = causal_lm_scores(net, blocks)
    assert math.isnan(scores["perplexity"]) or scores["perplexity"] == math.inf


def test_the_matrices_b_have_their_own_learning_rate(tiny, blocks):
    net = net_of(tiny, loraplus_lr_ratio=16.0).initialize()
    names = {id(p): name for name, p in net.module_.named_parameters()}
    rates = {names[id(p)]: g["lr"] for g in net.optimizer_.param_groups for p in g["params"]}
    assert len(rates) == len(names)
    assert {lr for name, lr in rates.items() if "lora_A" in name} == {0.01}
    assert {lr for name, lr in rates.items() if "lora_B" in name} == {0.16}
    same = [weights(fitted(tiny, blocks, **params)) for params in ({}, {"loraplus_lr_ratio": 1.0})]
    assert torch.equal(*same)


def test_loraplus_is_pefts(tiny, blocks):
    from peft.optimizers import create_loraplus_optimizer

    net = net_of(tiny, loraplus_lr_ratio=4.0, optimizer__weight_decay=0.1).initialize()
    theirs = create_loraplus_optimizer(
        net.module_.lm, torch.optim.AdamW, lr=0.01, loraplus_lr_ratio=4.0, loraplus_weight_decay=0.1
    )
    assert groups(net.optimizer_) == groups(theirs)


def groups(optimizer):
    return {
        (group["lr"], group["weight_decay"], frozenset(map(id, group["params"])))
        for group in optimizer.param_groups
        if group["params"]
    }


def test_weight_decay_and_penalties_leave_vectors_alone(tiny):
    net = net_of(tiny, module__method="full", optimizer__weight_decay=0.1).initialize()
    decays = {p.ndim: g["weight_decay"] for g in net.optimizer_.param_groups for p in g["params"]}
    assert decays == {2: 0.1, 1: 0.0}


def test_groups_of_the_users_own_are_taken(tiny):
    net = net_of(tiny, optimizer__param_groups=[("*q_proj*", {"lr": 0.5})]).initialize()
    assert [len(group["params"]) for group in net.optimizer_.param_groups] == [4, 24]


def test_a_penalty_is_on_the_adapter_alone(tiny, blocks):
    net = net_of(tiny, l2_lambda=0.5).initialize()
    X = torch.as_tensor(blocks)
    logits = net.infer(X)
    penalty = net.get_loss(logits, X, training=True) - net.get_loss(logits, X, training=False)
    torch.testing.assert_close(penalty, 0.5 * weights(net).square().sum(), rtol=1e-4, atol=1e-5)


def test_it_is_a_scikit_learn_estimator(tiny):
    net = net_of(tiny, gradient_accumulation_steps=2, warmup_ratio=0.1, schedule_epochs=3)
    copy = clone(net).set_params(module__scale=4.0, l1_lambda=0.1)
    params = copy.get_params()
    assert (params["module__scale"], params["l1_lambda"], params["warmup_ratio"]) == (4.0, 0.1, 0.1)
    assert "module__scale" not in net.get_params()


def test_the_recommendation_is_python(tiny, blocks):
    from peft import LoraConfig

    net = net_of(tiny, module__scale=4.0, module__target_modules="attention").initialize()
    config = eval(net.recommendation(), {"LoraConfig": LoraConfig})
    assert config == net.lora_config()
    assert (config.r, config.lora_alpha) == (4, 16)
    assert config.target_modules == {"q_proj", "k_proj", "v_proj", "o_proj"}


@pytest.mark.parametrize(("method", "n_files"), [("lora", 2), ("qlora", 2), ("full", 0)])
def test_the_adapter_is_what_a_study_keeps(tiny, blocks, tmp_path, method, n_files):
    net = fitted(tiny, blocks, module__method=method)
    net.save_artifacts(tmp_path)
    assert len(list(tmp_path.glob("adapter/adapter_*"))) == n_files  # config and weights
    assert bool(net.recommendation()) == bool(n_files)


def test_a_ratio_out_of_range_is_refused(tiny):
    with pytest.raises(ValueError, match=r"^loraplus_lr_ratio must be greater than 0\. Got 0"):
        net_of(tiny, loraplus_lr_ratio=0).initialize()


def objective(tiny, blocks, **kwargs):
    net = net_of(tiny, module__lora_dropout=0.2)
    defaults = dict(cv=3, epochs=3, scoring=neg_log_perplexity)
    return Objective(net, blocks, blocks, **{**defaults, **kwargs})


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_trials_and_folds_side_by_side_are_those_alone(tiny, blocks, method):
    trials = [Trial(i, {"module__r": r, "module__method": method}, i) for i, r in enumerate((2, 5))]
    whole = objective(tiny, blocks)
    alone = [[report.fold_values for report in whole.run(trial)] for trial in trials]
    together = [whole.run(trial) for trial in trials]
    steps = list(zip(*together, strict=True))
    assert [[report.fold_values for report in side] for side in zip(*steps, strict=True)] == alone
    first_fold = objective(tiny, blocks, cv=whole.splits[:1]).run(trials[0])
    assert [report.value for report in first_fold] == [values[0] for values in alone[0]]


def test_reports_every_few_steps_follow_the_same_schedule(tiny, blocks):
    net = net_of(tiny, lr_schedule="cosine", warmup_ratio=0.2, batch_size=4)  # 4 steps an epoch
    epochs, slices = (
        Objective(
            clone(net).set_params(schedule_epochs=n),
            blocks,
            blocks,
            cv=3,
            epochs=n,
            eval_every=every,
            scoring=neg_log_perplexity,
        )
        for n, every in ((3, None), (12, 1))
    )
    trial = Trial(0, {}, 0)
    assert [report.fold_values for report in slices.run(trial)][3::4] == [
        report.fold_values for report in epochs.run(trial)
    ]


def test_a_trial_goes_on_from_its_state(tiny, blocks):
    trial = Trial(0, {"loraplus_lr_ratio": 4.0}, 0)
    whole = objective(tiny, blocks)
    expected = [report.fold_values for report in whole.run(trial)]
    run = whole.run(trial)
    next(run)
    state = run.state()
    run.close()
    assert [report.fold_values for report in whole.resume(trial, state)] == expected[1:]
    assert len(state) < 500_000


def test_a_study_searches_adapters(tiny, blocks):
    study = Study(
        name="lora",
        estimator=net_of(tiny, lr_schedule="linear", warmup_ratio=0.1, schedule_epochs=3),
        data=lambda: StudyData(
            X=blocks[:20], y=blocks[:20], X_test=blocks[20:], y_test=blocks[20:]
        ),
        search_space={
            "module__r": {"type": "int", "low": 1, "high": 8, "log": True},
            "module__scale": {"type": "float", "low": 1.0, "high": 4.0},
            "module__target_modules": {
                "type": "categorical",
                "choices": ["attention", "all-linear", ["q_proj", "v_proj"]],
            },
            "gradient_accumulation_steps": {"type": "categorical", "choices": [1, 2]},
        },
        scoring=causal_lm_scores,
        cv=ContiguousHoldout(0.2),
        n_trials=3,
        pruner=None,
        storage=None,
        tracker="null",
        costs=("trainable_parameters",),
    )
    result = run_study(study)
    assert result.n_complete == 3
    report = result.records[0].reports[-1]
    assert report.value == report.metrics["neg_log_perplexity"][0]
    assert {"perplexity", "perplexity_before", "trainable_parameters"} <= set(report.metrics)
    assert math.isfinite(result.test_score)
    assert result.recommendation == result.estimator.recommendation()


@pytest.mark.parametrize("name", ["lora", "qlora"])
def test_a_space_that_ships_fits_the_net(tiny, blocks, repository, name):
    study = Study(
        name=name,
        estimator=net_of(tiny, schedule_epochs=1, max_epochs=1),
        data=StudyData(X=blocks, y=blocks),
        search_space=repository / "search_spaces" / f"{name}.yaml",
        scoring=neg_log_perplexity,
        cv=ContiguousHoldout(),
        n_trials=2,
        storage=None,
        tracker="null",
    )
    assert run_study(study).n_complete == 2


def test_nothing_of_a_net_outlives_it(tiny, blocks):
    net = fitted(tiny, blocks)
    causal_lm_scores(net, blocks)
    seen = weakref.ref(net.module_)
    del net
    assert seen() is None


def test_a_net_is_made_without_the_libraries(tiny):
    code = (
        "import sys; from hpo.nets import CausalLMNet; import hpo.data; CausalLMNet(); "
        "print({'transformers', 'peft', 'bitsandbytes'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("missing", ["transformers", "peft"])
def test_a_missing_library_is_told(tiny, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(
        ImportError, match=rf"need the package '{missing}': pip install 'hpo-torch\[lora\]'"
    ):
        net_of(tiny).initialize()
