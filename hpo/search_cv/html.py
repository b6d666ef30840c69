"""How an `HPOSearchCV` is shown: as scikit-learn shows it, without passwords."""

import copy
from typing import Any

from hpo._redaction import redact

__all__ = ["ShownWithoutPasswords"]


class ShownWithoutPasswords:
    """Shows an estimator without the passwords of the addresses among its parameters.

    It stands before scikit-learn's base class, whose text cuts long parameters: a password that
    has lost its ``@`` could not be told any more.
    """

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        return str(self._shown().__repr__(N_CHAR_MAX))

    def _repr_html_inner(self) -> Any:
        return self._shown()._repr_html_inner()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return self._shown()._repr_mimebundle_(**kwargs)

    def _shown(self) -> Any:
        """Return what stands for the base class of a copy without passwords."""
        shown = copy.copy(self)
        texts = {name: value for name, value in vars(self).items() if isinstance(value, str)}
        shown.__dict__.update({name: redact(text) for name, text in texts.items()})
        return super(ShownWithoutPasswords, shown)
