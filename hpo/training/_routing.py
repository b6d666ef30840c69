"""Which parameters of ``fit`` belong to a Pipeline's last step, and which to earlier steps."""

from collections.abc import Mapping
from typing import Any

from sklearn import get_config
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import process_routing

__all__ = ["fit_params_by_step"]


def fit_params_by_step(
    estimator: Any, fit_params: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split ``fit_params`` into those of ``estimator[:-1]`` and those of its last step.

    With scikit-learn's metadata routing each step gets what it requests; without it a
    Pipeline's parameters are named ``step__parameter``, as in ``Pipeline.fit``.
    """
    if not isinstance(estimator, Pipeline):
        return {}, dict(fit_params)
    name = estimator.steps[-1][0]
    if not get_config()["enable_metadata_routing"]:
        prefix = f"{name}__"
        final = {k.removeprefix(prefix): v for k, v in fit_params.items() if k.startswith(prefix)}
        return {k: v for k, v in fit_params.items() if not k.startswith(prefix)}, final
    routed = process_routing(estimator, "fit", **fit_params)
    before = {
        key: value
        for step, _ in estimator.steps[:-1]
        for method in ("fit", "fit_transform")
        for key, value in routed[step].get(method, {}).items()
    }
    return before, dict(routed[name].fit)
