"""Samplers by name: Optuna's, each trial drawn from its own seed, and Ray Tune's searchers.

Each public module says how one sampler is made and is found by its name; see
`BaseSamplerFactory`.
"""

from typing import Any

from hpo._discovery import find, names, parse_spec
from hpo.backends._sampling import BaseSampler, BaseSamplerFactory
from hpo.exceptions import PluginError
from hpo.space import SearchSpace

__all__ = ["make_sampler"]


def make_sampler(
    spec: Any, seed: int, *, parallel: bool, space: SearchSpace | None = None
) -> BaseSampler:
    """Return the sampler that ``spec`` names.

    Parameters
    ----------
    spec : str or optuna.samplers.BaseSampler
        ``"tpe"``, ``"tpe:random_share=0.2,n_startup_trials=32"``, ``"gp"``, Optuna's own
        (``"optuna_tpe"``, ``"optuna_gp"``), a search algorithm of Ray Tune
        (``"ray:algorithm=hyperopt,n_initial_points=10"``), or a sampler, used as it is.
    seed : int
    parallel : bool
        Whether several trials run at once; TPE then takes running trials for bad ones
        (``constant_liar``), so that it does not propose the same point twice.
    space : SearchSpace or None, default=None
        What is searched. Without it, names and options of Ray Tune's algorithms are checked,
        and such a sampler cannot be used.

    Raises
    ------
    PluginError
        If the name or an option is unknown, a value is refused, what the sampler needs is not
        installed, or it cannot search the space.
    """
    if isinstance(spec, BaseSampler):
        return spec
    if not isinstance(spec, str):
        raise PluginError(
            f"The sampler must be a name ({', '.join(names(__name__))}) or an Optuna sampler. "
            f"Got {spec!r} instead."
        )
    name, options = parse_spec(spec)
    factory: BaseSamplerFactory = find(__name__, name, BaseSamplerFactory)()
    return factory.make(options, seed, parallel=parallel, space=space)
