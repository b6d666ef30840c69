"""Representation of an `HPOSearchCV`: that of scikit-learn, without passwords."""

import copy
from typing import Any

from hpo._redaction import redact

__all__ = ["ShownWithoutPasswords"]


class ShownWithoutPasswords:
    """Hides passwords in addresses among an estimator's parameters from its representation.

    This must precede scikit-learn's base class, which shortens long parameters: a password whose
    ``@`` was cut off could no longer be recognized.
    """

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        return str(self._redacted().__repr__(N_CHAR_MAX))

    def _repr_html_inner(self) -> Any:
        return self._redacted()._repr_html_inner()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return self._redacted()._repr_mimebundle_(**kwargs)

    def _redacted(self) -> Any:
        """Return the base class proxy (``super``) of a copy without passwords."""
        redacted = copy.copy(self)
        texts = {name: value for name, value in vars(self).items() if isinstance(value, str)}
        redacted.__dict__.update({name: redact(text) for name, text in texts.items()})
        return super(ShownWithoutPasswords, redacted)
