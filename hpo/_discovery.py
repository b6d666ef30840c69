"""Find a backend, sampler, pruner or any other plugin by its name; build it from text.

A plugin of hpo is a module (or folder) in its package with one concrete subclass of the package's
base class, which is defined in ``base.py``; its name is the module's name. A plugin of another
package is found

* by an entry point in the group of hpo's package (``[project.entry-points."hpo.pruners"]``), whose
  name it goes by;
* as ``MODULE:CLASS``, where the module can be imported: a file beside the study is one.

``median:n_startup_trials=8,peers=reported`` and ``my_rules:PlateauPruner:patience=5`` name
plugins with options.
"""

import ast
import difflib
import importlib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from hpo._failures import message_of, where_of
from hpo.exceptions import HpoError, PluginError

__all__ = [
    "build",
    "check_class",
    "check_options",
    "did_you_mean",
    "find",
    "instantiate",
    "names",
    "parse_spec",
    "plugins",
]


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return ``", did you mean 'x'?"`` for the most similar name, else an empty string."""
    near = difflib.get_close_matches(name, list(candidates), n=1)
    return f", did you mean '{near[0]}'?" if near else ""


def names(package: str) -> list[str]:
    """Return the names of the plugins of ``package``: its public modules and entry points, sorted.

    The package is not imported, so that a help text can list them quickly.
    """
    return sorted({*_modules(package), *_entry_points(package)})


def _modules(package: str) -> list[str]:
    loaded = sys.modules.get(package)
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"There is no package {package}.", name=package)
    # Folders may have been added to the path of a loaded package.
    modules = pkgutil.iter_modules(loaded.__path__ if loaded else spec.submodule_search_locations)
    public = [module.name for module in modules]
    return [name for name in public if name != "base" and not name.startswith("_")]


def _entry_points(package: str) -> dict[str, str]:
    """Return the plugins of other packages: name to reference (``"module:Class"``)."""
    return {point.name: point.value for point in importlib.metadata.entry_points(group=package)}


def find(package: str, name: str, base: type[Any], *others: type[Any]) -> type[Any]:
    """Return the plugin that ``name`` names: a concrete subclass of ``base``.

    Parameters
    ----------
    package : str
        ``"hpo.pruners"``.
    name : str
        Name of a module of the package, of an entry point, or ``"module:Class"``.
    base : type
    others : type
        Further base classes that an external class may inherit instead.

    Raises
    ------
    PluginError
        If there is no such plugin; the message lists those that exist.
    """
    if ":" in name:
        head, _, rest = name.partition(":")
        if head in names(package):
            raise PluginError(f"'{name}': expected name:key=value,key=value, but got '{rest}'.")
        return _import_class(package, name, base, *others)
    if name in _modules(package):
        return _find_in_package(package, name, base)
    entry_points = _entry_points(package)
    if name in entry_points:
        return _import_class(package, entry_points[name], base, *others)
    available = names(package)
    hint = did_you_mean(name, available) or "."
    raise PluginError(
        f"There is no {_kind(package)} '{name}'{hint} Choose one of: {', '.join(available)}; or "
        "name a class of your own as MODULE:CLASS."
    )


def _find_in_package(package: str, name: str, base: type[Any]) -> type[Any]:
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


def _import_class(package: str, reference: str, *bases: type[Any]) -> type[Any]:
    """Return the class that ``"module:Class"`` refers to."""
    kind = _kind(package)
    path, _, qualname = reference.partition(":")
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise PluginError(
                f"{kind} '{reference}': {path} cannot be imported: {error}"
            ) from error
        raise PluginError(
            f"{kind} '{reference}': there is no module '{error.name}' beside the study, in the "
            "current folder or among the installed packages."
        ) from None
    except Exception as error:
        raise PluginError(
            f"{kind} '{reference}': {path} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    plugin: Any = module
    for part in qualname.split("."):  # a class may stand in another one
        plugin = getattr(plugin, part, None)
    if plugin is None:
        classes = [name for name, item in vars(module).items() if inspect.isclass(item)]
        hint = did_you_mean(qualname, classes) or "."
        raise PluginError(f"{kind} '{reference}': {path} has no class '{qualname}'{hint}")
    check_class(f"{kind} '{reference}'", plugin, *bases)
    return plugin  # type: ignore[no-any-return]


def check_class(label: str, plugin: Any, *bases: type[Any]) -> None:
    """Raise `PluginError` unless ``plugin`` is a concrete subclass of one of ``bases``."""
    if not (inspect.isclass(plugin) and issubclass(plugin, bases)):
        base_names = [f"{cls.__module__.removesuffix('.base')}.{cls.__name__}" for cls in bases]
        raise PluginError(f"{label} must be a class that inherits {' or '.join(base_names)}.")
    if inspect.isabstract(plugin):
        missing = ", ".join(sorted(getattr(plugin, "__abstractmethods__", ())))
        raise PluginError(f"{label} must implement {missing}.")


def _kind(package: str) -> str:
    """Return the singular name of a package's plugins."""
    name = package.rpartition(".")[2]
    return "analysis" if name == "analyses" else name.removesuffix("s")


def parse_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """Split ``"name:key=value,key=value"`` into the name and its options.

    The name may be ``"module:Class"``. Values are Python literals where they can be read as such
    (``8``, ``1e-3``, ``None``, ``[1, 2]``), ``true`` and ``false`` in any case, and text otherwise.
    """
    name, _, rest = spec.partition(":")
    head, _, tail = rest.partition(":")
    if "=" not in head and all(part.isidentifier() for part in head.strip().split(".")):
        name, rest = f"{name.strip()}:{head.strip()}", tail
    options: dict[str, Any] = {}
    for item in _split(rest):
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            raise PluginError(
                f"'{spec}': expected name:key=value,key=value or module:Class:key=value, but got "
                f"'{item}'."
            )
        options[key.strip()] = _literal(text.strip())
    return name.strip(), options


def _split(text: str) -> list[str]:
    """Split at commas outside brackets."""
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


def check_options(
    label: str,
    target: Any,
    options: Mapping[str, Any],
    *,
    given: Iterable[str] = (),
    others: Callable[[], Mapping[str, Any]] = dict,
) -> None:
    """Raise `PluginError` naming every option that ``target`` does not accept.

    Parameters
    ----------
    label : str
        ``"pruner 'median'"``.
    target : callable
        What takes the options.
    options : mapping of str to object
    given : iterable of str
        Parameters of ``target`` that are no options.
    others : callable
        Returns what takes the options of other plugins, by their names: asked for those that have
        an unknown option.
    """
    parameters = dict(inspect.signature(target).parameters)
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for name in given:
        parameters.pop(name, None)
    unknown = [key for key in options if key not in parameters]
    if unknown:
        found = {name: inspect.signature(other).parameters for name, other in others().items()}
        problems = [
            f"'{key}'{_of_others(key, found) or did_you_mean(key, parameters) or '.'}"
            for key in unknown
        ]
        raise PluginError(
            f"{label} has no option {' It has no option '.join(problems)} "
            f"Its options are: {', '.join(parameters) or 'none'}."
        )


def _of_others(option: str, others: Mapping[str, Iterable[str]]) -> str:
    """Return ``" (an option of 'optuna_median')."`` if other plugins have the option, else ""."""
    owners = [f"'{name}'" for name, parameters in others.items() if option in parameters]
    *first, last = owners or [""]
    named = f"{', '.join(first)} and {last}" if first else last
    return f" (an option of {named})." if last else ""


def plugins(package: str, base: type[Any]) -> dict[str, type[Any]]:
    """Return the plugins of a package by name, without those that cannot be imported here."""
    found = {}
    for name in names(package):
        with suppress(Exception):  # an extra that is not installed, or somebody's code
            found[name] = find(package, name, base)
    return found


def build(package: str, spec: Any, base: type[Any], **defaults: Any) -> Any:
    """Return the plugin that ``spec`` names, with its options; an instance is passed through.

    Each of ``defaults`` is passed if the plugin accepts it and the spec does not set it.

    Parameters
    ----------
    package : str
        ``"hpo.pruners"``.
    spec : str, type or instance
        A name with options, a subclass of ``base``, or an instance of one.
    base : type

    Raises
    ------
    PluginError
        If the name or an option is unknown, or a value is invalid.
    """
    if isinstance(spec, base):
        return spec
    kind = _kind(package)
    if isinstance(spec, str):
        name, options = parse_spec(spec)
        plugin, label = find(package, name, base), f"{kind} '{name}'"
    elif inspect.isclass(spec):
        plugin, options, label = spec, {}, f"{kind} {spec.__name__}"
        check_class(label, plugin, base)
    else:
        raise PluginError(
            f"The {kind} must be a name ({', '.join(names(package))}), MODULE:CLASS or a "
            f"{base.__name__}. Got {spec!r} instead."
        )
    check_options(label, plugin, options, others=lambda: plugins(package, base))
    accepted = inspect.signature(plugin).parameters
    accepted_defaults = {key: value for key, value in defaults.items() if key in accepted}
    return instantiate(label, plugin, **{**accepted_defaults, **options})


def instantiate(label: str, make: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return what ``make`` returns; whatever it raises becomes a `PluginError`.

    A TypeError or ValueError says what is wrong with an option; anything else is a mistake in the
    plugin, and told with its place.
    """
    try:
        return make(*args, **kwargs)
    except HpoError:
        raise
    except (TypeError, ValueError) as error:
        raise PluginError(f"{label}: {error}") from error
    except Exception as error:
        raise PluginError(f"{label} raised {message_of(error)} ({where_of(error)})") from error
