"""Remove passwords in addresses from everything that hpo prints, stores or sends."""

import re

__all__ = ["redact"]

_MASK = "***"

# A password may contain a slash, which SQLAlchemy accepts, or an unescaped @, so everything up to
# the last @ of the word is masked. Digits before a slash are a port, and an @ after it is part of a
# path. All repetitions are bounded, because long texts would take minutes otherwise.
_USER_AND_PASSWORD = re.compile(
    r"""(?P<head>[a-z][a-z0-9+.\-]{0,30}://[^\s:/?\#@"'<>]{0,100})
        :(?!\d{0,5}(?:[/?\#\s"'<>]|$))
        [^\s"'<>]{0,300}@""",
    re.IGNORECASE | re.VERBOSE,
)
_TOKEN = re.compile(r"""(?P<head>https?://)[^\s:/?\#@"'<>]{1,300}@""", re.IGNORECASE)
_QUERY = re.compile(
    r"""(?P<head>[?&;][^\s=?&;"'<>]{0,40}
        (?:passw|pwd|secret|token|api_?key|credential)[^\s=?&;"'<>]{0,40}=)
        [^\s&;\#"'<>]+""",
    re.IGNORECASE | re.VERBOSE,
)


def redact(text: str) -> str:
    """Return ``text`` with ``***`` in the place of every password in an address in it.

    A password is the text between the user's name and the ``@`` of an address
    (``postgresql://ada:secret@host/db``), a name alone before the ``@`` of a web address (an
    access token), and the value of a query's ``password``, ``token``, ``secret`` or ``api_key``.

    Parameters
    ----------
    text : str
        An address, or any text with addresses in it.
    """
    if "://" not in text:
        return text
    text = _USER_AND_PASSWORD.sub(rf"\g<head>:{_MASK}@", text)
    text = _TOKEN.sub(rf"\g<head>{_MASK}@", text)
    return _QUERY.sub(rf"\g<head>{_MASK}", text)
