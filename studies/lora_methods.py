"""Asks how full fine-tuning, LoRA and QLoRA compare in equal steps, each at its own best rate.

The same pretrained model is adapted to the same text by each method at each of four learning
rates, ten reports of 25 optimizer steps. What a method costs stands beside its score: trained
parameters, seconds, and the peak of memory (on a CPU that of the process, its libraries included).

Found at the default size (stories260K, Tiny Shakespeare): all weights at their best rate come to
-2.856, LoRA to -2.997 and QLoRA to -3.053 nats a token with 18 % as many trained parameters; LoRA
wants a rate ten times as great, and at this size saves neither time nor memory.
"""

from functools import partial
from pathlib import Path

from hpo import Study
from hpo.data import ContiguousHoldout, find_stories260k, load_text
from hpo.nets import CausalLMNet, causal_lm_scores


def study(
    model: str = "stories260k", text: str = "tinyshakespeare", context_length: int = 128
) -> Study:
    """Compare three ways to adapt a causal language model to a text.

    Parameters
    ----------
    model : str
        A folder, an id on the hub, or stories260k, which $HPO_DATA holds.
    text : str
        A text file, or one of: tinyshakespeare, war_and_peace, wikitext2.
    context_length : int
        Tokens of a block.
    """
    folder = str(find_stories260k()) if model == "stories260k" else model
    return Study(
        name=f"lora_methods_{Path(model).name}_{Path(text).stem}",
        estimator=CausalLMNet(module__model=folder, module__r=8, batch_size=16, verbose=0),
        data=partial(load_text, text, folder, context_length=context_length),
        search_space={
            "module__method": ["full", "lora", "qlora"],
            "lr": [3e-4, 1e-3, 3e-3, 1e-2],
        },
        scoring=causal_lm_scores,
        metric="neg_log_perplexity",
        costs=["trainable_parameters", "seconds", "peak_memory_bytes"],
        cv=ContiguousHoldout(),
        epochs=10,
        eval_every=25,
        sampler="grid",
        pruner="nop",
        n_trials=None,
    )
