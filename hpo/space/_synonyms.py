"""Other names by which people know a parameter, for suggestions where no name is near."""

from collections.abc import Iterable

__all__ = ["synonym"]

_GROUPS = (
    ("lr", "learning_rate_init", "eta0", "learning_rate", "step_size", "alpha_lr"),
    ("weight_decay", "l2", "l2_lambda", "l2_reg", "wd", "decay", "reg_lambda", "alpha"),
    ("max_epochs", "epochs", "n_epochs", "num_epochs", "nb_epochs", "max_iter", "n_iter"),
    ("batch_size", "batch", "batchsize", "bs", "minibatch_size", "mini_batch_size"),
    ("dropout", "dropout_rate", "drop_rate", "p_dropout", "dropout_p", "keep_prob", "drop"),
    ("optimizer", "optim", "optimiser", "solver", "opt"),
    ("criterion", "loss", "loss_fn", "loss_function", "objective"),
    ("module", "model", "network", "net"),
    (
        "hidden_units",
        "hidden_size",
        "hidden_dim",
        "hidden",
        "n_hidden",
        "width",
        "n_units",
        "units",
    ),
    ("n_layers", "num_layers", "depth", "layers", "n_hidden_layers", "num_hidden_layers"),
    ("activation", "nonlinearity", "act", "activation_function"),
    ("betas", "beta", "beta1", "beta_1", "beta2", "beta_2"),
    ("eps", "epsilon"),
)


def synonym(word: str, names: Iterable[str]) -> str:
    """Return the shortest of ``names`` whose last part means the same as ``word``; else "".

    Parameters
    ----------
    word : str
        A name, or the last part of one: ``learning_rate``.
    names : iterable of str
        Full names of parameters: ``lr``, ``optimizer__weight_decay``.
    """
    lowered = word.lower().rpartition("__")[2]
    names = list(names)
    for group in _GROUPS:
        if lowered not in group:
            continue
        for other in group:  # the usual names stand first
            found = [name for name in names if name.rpartition("__")[2] == other != lowered]
            if found:
                return min(found, key=len)
    return ""
