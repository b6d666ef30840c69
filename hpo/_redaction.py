"""Remove passwords in addresses from everything that hpo prints, stores or sends."""

import re

__all__ = ["redact"]

_MASK = "***"

# A password may contain a slash, which SQLAlchemy accepts, or an unescaped @, so everything up to
# the last @ of the word is masked, even if a parser would read a port and a path there: rather too
# much is masked than a password shown. All repetitions are bounded, because long texts would take
# minutes otherwise.
_SCHEME = r"(?P<scheme>(?P<web>https?)|[a-z][a-z0-9+.\-]{0,30}(?<!http)(?<!https))://"
_NO_PORT = r"""(?!\d{0,5}(?:["'<>\s]|$))"""
_USER_AND_PASSWORD = re.compile(
    rf"""(?P<head>{_SCHEME}(?:[^\s:/?\#"'<>]{{0,100}}|(?(web)(?!)|[^\n:/"']{{0,100}})))
        :{_NO_PORT}
        [^\s"'<>]{{0,300}}@""",
    re.IGNORECASE | re.VERBOSE,
)
# One that has a blank or a quote in it: up to the next @ before what may be a host.
_UNUSUAL = re.compile(
    rf"""(?P<head>{_SCHEME}(?:[^\s:/?\#"'<>]{{0,100}}|(?(web)(?!)|[^\n:/"']{{0,100}})))
        :{_NO_PORT}(?!\s)
        (?:(?!://)[^\n@]){{1,100}}@(?:(?!://)[^\s"'<>]){{0,100}}(?<=@)(?=[\w\[])""",
    re.IGNORECASE | re.VERBOSE,
)
_TOKEN = re.compile(r"""(?P<head>https?://)[^\s:/?\#"'<>]{1,300}@""", re.IGNORECASE)

# A quote ends a value only where something else begins after it: a password may have one.
_VALUE = r"""(?:(?!["'<>](?:[\s,:;)}\]>"'<]|$))[^\s&\#]){1,2000}"""
_QUOTED = r"""'[^'\s&]{1,300}'|"[^"\s&]{1,300}\""""
_QUERY = re.compile(
    rf"""(?P<head>[?&;\#](?:[^\s=?&;\#"'<>]{{0,40}}
        (?:pass|pwd|secret|token|credential|signature|authorization|bearer
        |(?:api|access|private|ssl|account)[_-]?key)
        [^\s=?&;\#"'<>]{{0,40}}|key|sig|sas|auth|jwt)=)
        (?:{_QUOTED}|{_VALUE})""",
    re.IGNORECASE | re.VERBOSE,
)
# As libpq and the environment have it, and the header of a request.
_SETTING = re.compile(
    rf"(?P<head>\b[a-z_]{{0,40}}passw(?:or)?d=)(?!\*)(?:{_QUOTED}|{_VALUE})", re.IGNORECASE
)
_HEADER = re.compile(r"(?P<head>\bauthorization\W{1,6}(?:basic|bearer) )[\w+/=.~-]+", re.IGNORECASE)
# The words of Python, urllib3 and psycopg for a password that they take for a port or a host.
_PORT = re.compile(
    r"""(?P<head>
        (?:integer\ value\ as|nonnumeric\ port:|invalid\ integer\ value|failed\ to\ parse:)\ )
        (?:'[^\n]{1,300}'|"[^\n]{1,300}")""",
    re.IGNORECASE | re.VERBOSE,
)


def redact(text: str) -> str:
    """Return ``text`` with ``***`` in the place of every password in an address in it.

    A password is the text between the user's name and the ``@`` of an address
    (``postgresql://ada:secret@host/db``), a name alone before the ``@`` of a web address (an
    access token), and the value of a query's ``password``, ``token``, ``secret``, ``api_key`` and
    the like; also that of a setting ``password=`` and of a request's ``Authorization``.

    Parameters
    ----------
    text : str
        An address, or any text with addresses in it.
    """
    if "://" in text:
        text = _USER_AND_PASSWORD.sub(rf"\g<head>:{_MASK}@", text)
        text = _UNUSUAL.sub(rf"\g<head>:{_MASK}@", text)
        text = _TOKEN.sub(rf"\g<head>{_MASK}@", text)
    if "=" in text:
        text = _QUERY.sub(rf"\g<head>{_MASK}", text)
        text = _SETTING.sub(rf"\g<head>{_MASK}", text)
    return _PORT.sub(rf"\g<head>'{_MASK}'", _HEADER.sub(rf"\g<head>{_MASK}", text))
