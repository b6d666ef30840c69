"""Adapters searched here, and in a loop of one's own: ``python tests/benchmarks/lora.py``.

The same configurations of `search_spaces/lora.yaml` are tried by a plain peft loop, which loads the
model for each of them, trains it to the end and scores it once, and by a study with median
stopping on the shared base. The arms take turns, eight configurations at a time. Then the
process's memory is read after 3 and after 30 trials of one study.
"""

import gc
import math
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
import torch
from _bench import one_thread, report, sizes, table, verdict

from hpo import Study, run_study
from hpo.data import ContiguousHoldout, StudyData, find_stories260k, load_text
from hpo.nets import CausalLMNet, neg_log_perplexity
from hpo.space import SearchSpace

SPACE = Path(__file__).parents[2] / "search_spaces" / "lora.yaml"
FIXED = {"batch_size": 8, "gradient_accumulation_steps": 1, "lr_schedule": "constant"}
"""What both arms have alike in every configuration, so that their steps are the same work."""

AT_A_TIME = 8
TARGET_SPEED, TARGET_MEMORY = 2.0, 1.05


def configurations(n: int) -> list[dict[str, Any]]:
    """Return ``n`` random points of the space."""
    import optuna

    space = SearchSpace.load(SPACE)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    asked = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    points = []
    for _ in range(n):
        trial = asked.ask(dict(space.distributions))
        points.append({**trial.params, **FIXED, "warmup_ratio": 0.0})
    return points


def peft_loop(
    model: str, data: StudyData, params: Mapping[str, Any], n_steps: int, seed: int
) -> float:
    """Train one configuration as one would by hand; return minus its held-out loss in nats."""
    import peft
    import transformers

    torch.manual_seed(seed)
    train, valid = next(ContiguousHoldout().split(data.X))
    base = transformers.AutoModelForCausalLM.from_pretrained(model)
    attention = ["q_proj", "k_proj", "v_proj", "o_proj"]
    targets = params["module__target_modules"]
    r = params["module__r"]
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=r,
        lora_alpha=params["module__scale"] * r,
        lora_dropout=params["module__lora_dropout"],
        use_rslora=params["module__use_rslora"],
        target_modules=attention if targets == "attention" else targets,
    )
    net = peft.get_peft_model(base, config)
    named = [(name, p) for name, p in net.named_parameters() if p.requires_grad]
    fast = params["lr"] * params["loraplus_lr_ratio"]
    groups = [
        {"params": [p for name, p in named if "lora_B" not in name]},
        {"params": [p for name, p in named if "lora_B" in name], "lr": fast},
    ]
    decay = params["optimizer__weight_decay"]
    optimizer = torch.optim.AdamW(groups, lr=params["lr"], weight_decay=decay)
    net.train()
    rows = torch.randperm(len(train))
    size = params["batch_size"]
    for step in range(n_steps):
        at = step * size % (len(train) - size)
        batch = torch.as_tensor(data.X[train[rows[at : at + size]]])
        loss = net(input_ids=batch, labels=batch, use_cache=False).loss
        for _, p in named:
            loss = loss + params["l1_lambda"] * p.abs().sum()
            loss = loss + params["l2_lambda"] * p.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    losses = []
    with torch.no_grad():
        for at in range(0, len(valid), size):
            batch = torch.as_tensor(data.X[valid[at : at + size]])
            losses.append(net(input_ids=batch, labels=batch, use_cache=False).loss.item())
    return -float(np.mean(losses))


def make_study(
    model: str, data: StudyData, home: Path, points: Sequence[Mapping[str, Any]], **changes: Any
) -> Study:
    """Return the study over the same configurations."""
    fields: dict[str, Any] = {
        "name": "lora",
        "estimator": CausalLMNet(
            module__model=model,
            iterator_train__shuffle=True,
            schedule_epochs=1,
            verbose=0,
        ),
        "data": data,
        "search_space": SPACE,
        "scoring": neg_log_perplexity,
        "cv": ContiguousHoldout(),
        "enqueue": points,
        "refit": False,
        "tracker": "null",
        "storage": f"journal:///{home / 'hpo.journal'}",
    }
    return Study(**{**fields, **changes})


def run_arms(
    model: str, data: StudyData, n: int, n_steps: int, n_reports: int
) -> dict[str, tuple[float, float]]:
    """Return the seconds of each arm, and the best score that it found."""
    points = configurations(n)
    spent = {"peft loop": 0.0, "hpo": 0.0}
    best = dict.fromkeys(spent, -math.inf)
    with TemporaryDirectory(prefix="hpo-benchmark-") as folder:
        make = partial(
            make_study, model, data, Path(folder), points,
            epochs=n_reports, eval_every=n_steps // n_reports,
        )  # fmt: skip

        def ours(first: int, last: int) -> float:
            return run_study(make(n_trials=last)).best_score

        def theirs(first: int, last: int) -> float:
            scores = [peft_loop(model, data, points[i], n_steps, i) for i in range(first, last)]
            return max(scores)

        arms = {"peft loop": theirs, "hpo": ours}
        for turn, first in enumerate(range(0, n, AT_A_TIME)):
            for name in list(arms)[:: 1 if turn % 2 else -1]:
                began = time.perf_counter()
                score = arms[name](first, min(first + AT_A_TIME, n))
                spent[name] += time.perf_counter() - began
                best[name] = max(best[name], score)
    return {name: (spent[name], best[name]) for name in arms}


def run_memory(model: str, data: StudyData, early: int, late: int) -> tuple[float, float]:
    """Return the process's memory in bytes after ``early`` and after ``late`` trials."""
    seen = []
    points = configurations(late)
    with TemporaryDirectory(prefix="hpo-benchmark-") as folder:
        for n in (early, late):
            study = make_study(
                model, data, Path(folder), points, n_trials=n, epochs=2, eval_every=3, pruner="nop"
            )
            run_study(study)
            gc.collect()
            seen.append(float(psutil.Process().memory_info().rss))
    return seen[0], seen[1]


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Run the benchmark, print its tables and return its figures."""
    options = sizes(
        __doc__, n_trials=64, steps=120, reports=6, blocks=1000, context_length=64,
        early=3, late=30,
    )  # fmt: skip
    options.add_argument("--model", help="default: stories260K")
    size = options.parse_args(argv)
    model = size.model or str(find_stories260k())
    text = load_text("tinyshakespeare", model, context_length=size.context_length)
    blocks = text.X[: size.blocks]
    data = StudyData(X=blocks, y=blocks)
    with one_thread():
        early, late = run_memory(model, data, size.early, size.late)
        arms = run_arms(model, data, size.n_trials, size.steps, size.reports)
    figures = {"speed": arms["peft loop"][0] / arms["hpo"][0], "memory": late / early}
    report(
        "LoRA on a shared base",
        f"{size.n_trials} configurations of {size.steps} steps on {len(blocks)} blocks of "
        f"{size.context_length} tokens; ours reports {size.reports} times.",
        table(
            ("arm", "seconds", "best held-out perplexity"),
            [(name, f"{s:.0f}", f"{math.exp(-b):.2f}") for name, (s, b) in arms.items()],
        ),
        table(
            ("figure", "measured", "target", ""),
            [
                (
                    "peft loop / hpo, seconds",
                    f"{figures['speed']:.2f}",
                    f">= {TARGET_SPEED}",
                    verdict(figures["speed"] >= TARGET_SPEED),
                ),
                (
                    f"memory after {size.late} trials / after {size.early}",
                    f"{figures['memory']:.3f}",
                    f"<= {TARGET_MEMORY}",
                    verdict(figures["memory"] <= TARGET_MEMORY),
                ),
            ],
        ),
    )
    return figures


if __name__ == "__main__":
    main(sys.argv[1:])
