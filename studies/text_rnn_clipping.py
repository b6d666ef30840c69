"""Asks what clipping gradients is worth to a recurrent language model, by norm or by value.

A plain RNN of ReLUs and an LSTM read tiny Shakespeare by characters, under plain SGD at learning
rates up to where they diverge. A trial that diverges is recorded as pruned, with that reason, and
ends nothing else: what is compared is each kind of clipping at *its own* best rate and limit. The
score is minus the cross-entropy of the next character, in nats, on the third of the text that a
fold did not see; guessing has -4.17.

Clipping: Pascanu, Mikolov and Bengio 2013, *On the difficulty of training recurrent neural
networks*, section 3.2.

Found at the default size: the unclipped RNN diverged at each of the four rates, clipped by value
it reaches -2.18 ± 0.02, by norm -2.24 ± 0.04; the LSTM needs no clipping up to a rate of 10
(-2.085 ± 0.007, best of all). Six of forty trials are recorded as diverged; the held-out test
score, of later plays, is -2.34.
"""

from functools import partial

from sklearn.model_selection import KFold

from hpo import Study
from hpo.callbacks import GradientClipping
from hpo.data import load_characters
from hpo.modules import RecurrentLM
from hpo.nets import NextSymbolNet

N_SYMBOLS = 65


def study(full: bool = False) -> Study:
    """Clip the gradients of a recurrent language model.

    Parameters
    ----------
    full : bool
        The whole text in blocks of 128 characters and wider layers, for a GPU.
    """
    return Study(
        name="text_rnn_clipping_full" if full else "text_rnn_clipping",
        estimator=NextSymbolNet(
            RecurrentLM,
            module__n_symbols=N_SYMBOLS,
            module__hidden_units=256 if full else 64,
            callbacks=[("clipping", GradientClipping())],
            max_epochs=10 if full else 3,
            batch_size=64 if full else 32,
            iterator_train__shuffle=True,
            train_split=None,
            verbose=0,
        ),
        data=partial(
            load_characters,
            "tinyshakespeare",
            context_length=128 if full else 32,
            n_train=None if full else 2000,
            refit_on_all=full,
        ),
        search_space="../search_spaces/text_rnn_clipping.yaml",
        cv=KFold(3),  # whole thirds of the text: neighbouring blocks are alike
        sampler="grid",
        pruner="nop",
        n_trials=None,
        compare=["module__cell", "callbacks__clipping__kind"],
        watch=["grad_norm", "grad_norm_max"],
    )
