"""Asks how a pretrained causal language model is best adapted to a text, and what that costs.

A tenth of the text, its end, is held out as the test set; a tenth of the rest is the validation
part, to choose by. A trial makes at most ten reports of 25 optimizer steps; the score is minus the
validation loss in nats a token.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from hpo import SearchSpace, Study
from hpo.data import ContiguousHoldout, find_stories260k, load_text, pretrained_base
from hpo.nets import CausalLMNet, causal_lm_scores

N_REPORTS = 10
SPACES = Path(__file__).parent.parent / "search_spaces"

# The usual setting of tutorials, in which it stands beside lr 2e-4.
NOTEBOOKS = {
    "module__r": 8,
    "module__scale": 4.0,
    "module__use_rslora": False,
    "module__lora_dropout": 0.05,
    "module__target_modules": "attention",
    "lr": 2e-4,
    "loraplus_lr_ratio": 1,
    "lr_schedule": "constant",
    "warmup_ratio": 0.0,
    "optimizer__weight_decay": 0.01,
    "batch_size": 16,
    "gradient_accumulation_steps": 1,
    "l1_lambda": 1e-8,
    "l2_lambda": 1e-7,
}


def study(
    model: str = "stories260k",
    text: str = "tinyshakespeare",
    method: str = "lora",
    context_length: int = 128,
    pretrain: bool = False,
) -> Study:
    """Adapt a causal language model to a text.

    Parameters
    ----------
    model : str
        A folder, an id on the hub, or stories260k, which $HPO_DATA holds.
    text : str
        A text file, or one of: tinyshakespeare, war_and_peace, wikitext2.
    method : str
        lora, qlora (on a base of 4 bits), or full.
    context_length : int
        Tokens of a block.
    pretrain : bool
        Adapt a base of three million parameters instead, which is first trained on WikiText-2.
    """
    base, small = ("wikitext2", True) if pretrain else (Path(model).name, model == "stories260k")
    if pretrain:
        model = str(pretrained_base(tell=print))
    elif small:
        model = str(find_stories260k())
    return Study(
        name=f"{method}_{base}_{Path(text).stem}",
        estimator=CausalLMNet(
            module__model=model, module__method=method, schedule_epochs=N_REPORTS, verbose=0
        ),
        data=partial(load_text, text, model, context_length=context_length),
        search_space=FULL if method == "full" else adapter_space(method, accumulated=not small),
        scoring=causal_lm_scores,
        metric="neg_log_perplexity",
        costs=["trainable_parameters"] if method != "full" else [],
        cv=ContiguousHoldout(),
        epochs=N_REPORTS,
        eval_every=25,
        n_trials=20,
        enqueue=[notebooks(accumulated=not small)] if method == "lora" else [],
    )


def adapter_space(method: str, *, accumulated: bool) -> dict[str, Any]:
    """Return the space of an adapter; a small model needs no batches in several parts."""
    space = dict(SearchSpace.load(SPACES / f"{method}.yaml").distributions)
    return space if accumulated else without_accumulation(space)


def notebooks(*, accumulated: bool) -> dict[str, Any]:
    """Return the usual setting of tutorials, to be tried first."""
    return NOTEBOOKS if accumulated else without_accumulation(NOTEBOOKS)


def without_accumulation(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``settings`` but one."""
    return {k: v for k, v in settings.items() if k != "gradient_accumulation_steps"}


FULL = {
    "lr": {"type": "float", "low": 1e-5, "high": 3e-3, "log": True},
    "lr_schedule": ["constant", "linear", "cosine"],
    "warmup_ratio": {"type": "float", "low": 0.0, "high": 0.1},
    "optimizer__weight_decay": {"type": "float", "low": 1e-4, "high": 0.1, "log": True},
    "batch_size": [4, 8, 16],
}
"""What can be turned where all weights are trained."""
