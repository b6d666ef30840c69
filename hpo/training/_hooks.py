"""Hooks on methods of a skorch net that leave no trace on the net itself.

A method that is set on an instance is in its ``__dict__``, and so in its pickles and copies, and
among its parameters. Here a descriptor is set on the class as long as a net has hooks. Every
other net, and a lookup of the method on the class, still gets the original method.
"""

import threading
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

__all__ = ["Handler", "listen"]

Handler = tuple[type, str, Callable[..., Any]]
"""A class of the net, the name of a method in it, and the function that is called instead.

The function gets the method, bound to the net, and the method's arguments.
"""

_LOCK = threading.RLock()


def listen(net: Any, handlers: Sequence[Handler], owner: Any) -> Callable[[], Any]:
    """Replace methods of ``net`` by ``handlers``.

    If a method has several handlers, the last one is called first.

    Parameters
    ----------
    net : skorch net
        It must live as long as its hooks.
    handlers : sequence of Handler
        They must not refer to ``owner``.
    owner : object
        The hooks are removed when it is garbage-collected.

    Returns
    -------
    callable
        Removes the hooks; may be called twice.
    """
    with _LOCK:
        for cls, name, handle in handlers:
            _hook_of(cls, name).add(net, handle)
    end = weakref.finalize(owner, _end, id(net), tuple(handlers))
    end.atexit = False
    return end


def _end(net: int, handlers: Sequence[Handler]) -> None:
    with _LOCK:
        for cls, name, _ in handlers:
            _hook_of(cls, name).forget(net)


def _hook_of(cls: type, name: str) -> "_Hook":
    """Return the hook of a class, set there if necessary."""
    hook = vars(cls).get(name)
    if not isinstance(hook, _Hook):
        hook = _Hook(cls, name)
        setattr(cls, name, hook)
    return hook


class _Hook:
    """Replaces a method in the dictionary of its class."""

    def __init__(self, cls: type, name: str) -> None:
        self._cls, self._name = cls, name
        self._inherited = name not in vars(cls)
        self._original: Any = None if self._inherited else vars(cls)[name]
        self._nets: dict[int, tuple[Any, list[Callable[..., Any]]]] = {}

    def __get__(self, net: Any, owner: type | None = None) -> Any:
        hooked = self._nets.get(id(net))
        if hooked is None:
            return self._method(net, owner)
        function, handlers = hooked
        method = function.__get__(net, owner)
        for handle in handlers:
            method = partial(handle, method)
        return method

    def _method(self, net: Any, owner: type | None) -> Any:
        if not self._inherited:
            return self._original.__get__(net, owner)
        # In a subclass, another base may come before the one that this class inherits from.
        base: Any = super(self._cls, owner if net is None else net)
        return getattr(base, self._name)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the method itself, in a class that is pickled by value (cloudpickle)."""
        return itemgetter(0), ((self._method(None, self._cls),),)

    def add(self, net: Any, handle: Callable[..., Any]) -> None:
        """Call ``handle`` instead of the method of ``net``."""
        function = self._method(None, type(net))
        self._nets.setdefault(id(net), (function, []))[1].append(handle)

    def forget(self, net: int) -> None:
        """Drop the hooks of a net; after the last net, restore the method of the class."""
        self._nets.pop(net, None)
        if self._nets or vars(self._cls).get(self._name) is not self:
            return
        if self._inherited:
            delattr(self._cls, self._name)
        else:
            setattr(self._cls, self._name, self._original)
