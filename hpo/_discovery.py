"""Find a backend, sampler, pruner or any other plugin by its module's name; build it from text.

A plugin is one module (or folder) in its package that holds one concrete subclass of the
package's base class, which stands in ``base.py``; its name is the module's name.
``median:n_startup_trials=8,peers=reported`` names a plugin with options.
"""

import ast
import difflib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from hpo.exceptions import PluginError

__all__ = ["build", "check_options", "did_you_mean", "find", "names", "parse_spec"]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``", did you mean 'x'?"`` for the nearest known name, else an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean '{near[0]}'?" if near else ""


def names(package: str) -> list[str]:
    """Return the names of the plugins in ``package``: its public modules, sorted.

    Nothing of the package is imported for it, so that a help text can afford to list them.
    """
    loaded = sys.modules.get(package)
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"There is no package {package}.", name=package)
    # A package that is loaded may have had folders added to its path.
    modules = pkgutil.iter_modules(loaded.__path__ if loaded else spec.submodule_search_locations)
    return sorted(module.name for module in modules if _is_plugin(module.name))


def _is_plugin(name: str) -> bool:
    return name != "base" and not name.startswith("_")


def find(package: str, name: str, base: type[Any]) -> type[Any]:
    """Return the concrete subclass of ``base`` that the module ``package.name`` defines.

    Raises
    ------
    PluginError
        If there is no such module; the message lists those that exist.
    """
    known = names(package)
    if name not in known:
        kind = _kind(package)
        hint = did_you_mean(name, known) or "."
        raise PluginError(f"There is no {kind} '{name}'{hint} Choose one of: {', '.join(known)}.")
    module = importlib.import_module(f"{package}.{name}")
    classes = [
        item
        for item in vars(module).values()
        if inspect.isclass(item)
        and issubclass(item, base)
        and not inspect.isabstract(item)
        and f"{item.__module__}.".startswith(f"{module.__name__}.")
    ]
    if len(classes) != 1:
        raise PluginError(
            f"{module.__name__} must define exactly one concrete {base.__name__}, "
            f"but it defines {[c.__name__ for c in classes]}."
        )
    return classes[0]


def _kind(package: str) -> str:
    """Return what the plugins of a package are, one of them."""
    name = package.rpartition(".")[2]
    return "analysis" if name == "analyses" else name.removesuffix("s")


def parse_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """Split ``"name:key=value,key=value"`` into the name and its options.

    Values are Python literals where they can be read as such (``8``, ``1e-3``, ``None``,
    ``[1, 2]``), ``true`` and ``false`` in any case, and text otherwise.
    """
    name, _, rest = spec.partition(":")
    options: dict[str, Any] = {}
    for item in _split(rest):
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            raise PluginError(f"'{spec}': expected name:key=value,key=value, but got '{item}'.")
        options[key.strip()] = _literal(text.strip())
    return name.strip(), options


def _split(text: str) -> list[str]:
    """Split at commas that stand outside brackets."""
    parts, depth, start = [], 0, 0
    for i, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    parts.append(text[start:])
    return [part for part in parts if part.strip()]


def _literal(text: str) -> Any:
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def check_options(label: str, target: Any, options: Mapping[str, Any]) -> None:
    """Raise `PluginError` naming every option that ``target`` does not take."""
    parameters = inspect.signature(target).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    unknown = [key for key in options if key not in parameters]
    if unknown:
        told = [f"'{key}'{did_you_mean(key, parameters) or '.'}" for key in unknown]
        raise PluginError(
            f"{label} has no option {' It has no option '.join(told)} "
            f"Its options are: {', '.join(parameters) or 'none'}."
        )


def build(package: str, spec: Any, base: type[Any], **defaults: Any) -> Any:
    """Return the plugin that ``spec`` names, with its options; an instance is passed through.

    ``defaults`` are given to the plugin where it takes them and the spec does not set them.

    Raises
    ------
    PluginError
        If the name or an option is unknown, or a value is refused.
    """
    if isinstance(spec, base):
        return spec
    kind = _kind(package)
    if not isinstance(spec, str):
        raise PluginError(
            f"The {kind} must be a name ({', '.join(names(package))}) or a {base.__name__}. "
            f"Got {spec!r} instead."
        )
    name, options = parse_spec(spec)
    plugin = find(package, name, base)
    check_options(f"{kind} '{name}'", plugin, options)
    accepted = inspect.signature(plugin).parameters
    fitting = {key: value for key, value in defaults.items() if key in accepted}
    try:
        return plugin(**{**fitting, **options})
    except (TypeError, ValueError) as error:
        raise PluginError(f"{kind} '{name}': {error}") from error
