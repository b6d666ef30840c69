"""Methods of a skorch net listened to, without a trace on the net itself.

A method that is put on an instance stands in its ``__dict__``: in its pickles and copies, and
among its parameters. Here it is a descriptor in a class, as long as one net is listened to.
Every other net, and whoever looks a method up in the class, is handed what was there before.
"""

import threading
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

__all__ = ["Handler", "listen"]

Handler = tuple[type, str, Callable[..., Any]]
"""A class of the net's, the name of a method there, and what is called in its place: with the
method, as bound to the net, and with the method's arguments."""

_LOCK = threading.RLock()


def listen(net: Any, handlers: Sequence[Handler], owner: Any) -> Callable[[], Any]:
    """Put ``handlers`` in the place of methods of ``net``.

    Of several handlers of one method the last is called first.

    Parameters
    ----------
    net : skorch net
        It must live as long as it is listened to.
    handlers : sequence of Handler
        They must not refer to ``owner``.
    owner : object
        When it is no more, nobody listens.

    Returns
    -------
    callable
        Ends the listening; may be called twice.
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
    """Return the hook in a class, put there if need be."""
    hook = vars(cls).get(name)
    if not isinstance(hook, _Hook):
        hook = _Hook(cls, name)
        setattr(cls, name, hook)
    return hook


class _Hook:
    """Stands for a method in the dictionary of its class."""

    def __init__(self, cls: type, name: str) -> None:
        self._cls, self._name = cls, name
        self._inherited = name not in vars(cls)
        self._own: Any = None if self._inherited else vars(cls)[name]
        self._nets: dict[int, tuple[Any, list[Callable[..., Any]]]] = {}

    def __get__(self, net: Any, owner: type | None = None) -> Any:
        known = self._nets.get(id(net))
        if known is None:
            return self._method(net, owner)
        function, handlers = known
        method = function.__get__(net, owner)
        for handle in handlers:
            method = partial(handle, method)
        return method

    def _method(self, net: Any, owner: type | None) -> Any:
        if not self._inherited:
            return self._own.__get__(net, owner)
        # Not what the class inherits itself: another base may come before that in a subclass.
        base: Any = super(self._cls, owner if net is None else net)
        return getattr(base, self._name)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the method itself, in a class that goes by value (cloudpickle)."""
        return itemgetter(0), ((self._method(None, self._cls),),)

    def add(self, net: Any, handle: Callable[..., Any]) -> None:
        """Call ``handle`` in the place of the method of ``net``."""
        function = self._method(None, type(net))
        self._nets.setdefault(id(net), (function, []))[1].append(handle)

    def forget(self, net: int) -> None:
        """Listen to a net no more; without any, go out of the class."""
        self._nets.pop(net, None)
        if self._nets or vars(self._cls).get(self._name) is not self:
            return
        if self._inherited:
            delattr(self._cls, self._name)
        else:
            setattr(self._cls, self._name, self._own)
