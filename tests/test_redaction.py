"""No password of an address is printed, logged, kept in a report or told in an error."""

import pickle
import string
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from hpo import HPOSearchCV, Study, StudyData, run_study
from hpo._failures import message_of, traceback_of
from hpo._redaction import redact
from hpo.exceptions import HpoError, SpaceError, StorageError
from hpo.observer import BaseObserver
from hpo.storage.open import open_storage

SECRET = "s3cr3t"

KEPT = [
    "postgresql://ada@host/db",
    "http://host:5000",
    "http://host:5000/a/b?page=2#c",
    "http://host:80 or mail to me@home",
    "sqlite:///x.db",
    "sqlite:////a/b:c@d.db",
    "no address: ada:secret@host",
    "cannot reach http://host: mail ops@home",
    "cannot reach postgresql://host: mail ops@home",
    "https://h/?page=2&tokens",
    "basic authorization is off",
]

CHARACTERS = string.ascii_letters + string.digits + "/:@?#%&=+;,.!$*()[]{}~^|\\-_é"
UNUSUAL = " '\"<>"

passwords = st.builds(
    lambda before, after: f"{before}{SECRET}{after}",
    st.text(CHARACTERS, max_size=8),
    st.text(CHARACTERS, max_size=8),
)
schemes = st.sampled_from(["postgresql", "postgresql+psycopg", "mysql", "redis", "s3", "mlflow+x"])
users = st.sampled_from(["ada", "", "a.b", "ada%40corp", "ada@corp"])
texts = st.sampled_from(
    [
        *("{0}", "'{0}'", '"{0}"', "({0})", "<{0}>", "no answer of {0}: x", "{0}, {0}", "{0}\n{0}"),
        *("--storage={0} --tracking-uri {0}", "{{'a': '{0}', 'b': \"{0}\"}}", "[{0}] at {0}."),
    ]
)


@given(schemes, users, passwords, texts)
@example("postgresql", "ada", f"{SECRET}://", "{0}")
@settings(max_examples=3000, deadline=None, derandomize=True)
def test_no_password_before_a_host_is_shown(scheme, user, password, text):
    for written in (password, quote(password + UNUSUAL, safe="")):
        url = f"{scheme}://{user}:{written}@host:5432/db"
        assert SECRET not in redact(text.format(url))
        assert redact(redact(url)) == redact(url)
    web = f"https://{user}:{quote(password + UNUSUAL, safe=':@')}@host/api"
    assert SECRET not in redact(text.format(web))


@given(
    st.sampled_from(["postgresql://h/db?", "https://h/?a=b&", "sqlite:///x.db?", "/api?", "h/#"]),
    st.sampled_from(
        [
            *("password", "sslpassword", "PASSWD", "pwd", "pass", "db_pass", "passphrase", "token"),
            *("access_token", "X-Amz-Security-Token", "X-Amz-Signature", "X-Amz-Credential"),
            *("api_key", "api-key", "apikey", "AWSAccessKeyId", "client_secret", "sig", "key"),
        ]
    ),
    passwords,
    texts,
)
@settings(max_examples=2000, deadline=None, derandomize=True)
def test_no_password_of_a_query_is_shown(start, key, password, text):
    for written in (password.replace("&", "").replace("#", ""), quote(password, safe="")):
        assert SECRET not in redact(text.format(f"{start}{key}={written}"))
        assert SECRET not in redact(text.format(f"{start}{key}={written}&x=1#y"))


@pytest.mark.parametrize("odd", UNUSUAL)
@pytest.mark.parametrize("scheme", ["postgresql", "https"])
def test_passwords_with_blanks_and_quotes_are_masked(scheme, odd):
    for password in (f"x{odd}{SECRET}", f"{SECRET}{odd}x"):
        assert redact(f"at {scheme}://a:{password}@host/b: no") == f"at {scheme}://a:***@host/b: no"


@pytest.mark.parametrize(
    "text",
    [
        f"host=h password={SECRET} user=a",
        f"PGPASSWORD='{SECRET}'",
        f"Authorization: Bearer {SECRET}",
        f"{{'Authorization': 'Basic {SECRET}'}}",
        f"Port could not be cast to integer value as '{SECRET}'",
    ],
)
def test_passwords_in_other_forms_are_masked(text):
    assert SECRET not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_password_stays(text):
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"postgresql://ada:{SECRET}@host/db", "postgresql://ada:***@host/db"),
        (f"postgresql+psycopg://ada:{SECRET}/x@y@host:5432/db", "postgresql+psycopg://ada:***@host:5432/db"),
        (f"https://ada:{SECRET}@host", "https://ada:***@host"),
        (f"HTTPS://{SECRET}@host/api", "HTTPS://***@host/api"),
        (f"http://:{SECRET}@host:80/", "http://:***@host:80/"),
        (f"mysql://u:p?{SECRET}#@h/db", "mysql://u:***@h/db"),
        (f"postgresql://h/db?user=a&password={SECRET}&x=1", "postgresql://h/db?user=a&password=***&x=1"),
        (f"https://h/?access_token={SECRET}", "https://h/?access_token=***"),
        (f"s3://key:{SECRET}@bucket", "s3://key:***@bucket"),
        (f"http://ada:12/{SECRET}@host/api", "http://ada:***@host/api"),
        (f"https://ada:12?{SECRET}@host", "https://ada:***@host"),
        (f"https://ada:1#{SECRET}@host:80", "https://ada:***@host:80"),
        (f"'http://a:{SECRET}@h' and \"http://b:{SECRET}@h\"", "'http://a:***@h' and \"http://b:***@h\""),
    ],
)  # fmt: skip
def test_passwords_are_masked_wherever_an_address_has_them(text, shown):
    assert redact(text) == shown
    assert redact(f"trouble at {text} is bad luck") == f"trouble at {shown} is bad luck"
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "text",
    ["x://a:b", "http://", "a.a.", "?", "://a:", "x://a@", "?pass", "password", "http://a:b'"],
)
def test_long_texts_take_no_time(text):
    redact(f"{text * 100_000}://")  # a quadratic pattern would take minutes


def test_errors_are_told_without():
    url = f"http://ada:{SECRET}@host"
    for error in (StorageError(f"{url} is down"), SpaceError([f"{url} is wrong"]), HpoError(url)):
        for told in (str(error), repr(error), repr(pickle.loads(pickle.dumps(error)))):
            assert SECRET not in told
            assert "ada:***@host" in told
    with pytest.raises(ValueError, match="no answer") as raised:
        raise ValueError(f"no answer of http://ada:{SECRET}@host")
    assert SECRET not in message_of(raised.value) + traceback_of(raised.value)


def test_a_long_error_is_masked_before_it_is_cut():
    url = f"http://ada:{SECRET}@host"
    for n in range(150, 260, 7):
        assert SECRET not in message_of(ValueError("x" * n + url + "y" * 300))


def test_a_storage_that_cannot_be_reached_is_named_without():
    with pytest.raises(StorageError) as told:
        open_storage(f"postgresql://ada:{SECRET}/x@127.0.0.1:9/db")
    assert "ada:***@127.0.0.1" in str(told.value)
    assert SECRET not in str(told.value)


def test_studies_and_searches_are_shown_without():
    fields = {"storage": f"postgresql://a:{SECRET}@h/db", "tracking_uri": f"http://a:{SECRET}@h"}
    search = HPOSearchCV(LogisticRegression(), {"C": [1, 2]}, **fields)
    long = HPOSearchCV(LogisticRegression(), {"C": list(range(300))}, **fields)
    data = StudyData(X=[[1]], y=[1])
    study = Study(name="x", estimator=None, data=data, search_space={}, **fields)
    shown = [repr(search), str(search), search._repr_html_(), str(search._repr_mimebundle_())]
    shown += [repr(long), long.__repr__(N_CHAR_MAX=150), repr(study), str(study)]
    for text in shown:
        assert SECRET not in text
    assert "a:***@h" in repr(search)
    assert search.storage == study.storage == fields["storage"]


class Told(BaseObserver):
    """Keeps all texts."""

    keeps_artifacts = True

    def __init__(self):
        self.texts = []

    def on_study_start(self, info):
        self.texts += [str(info.params), str(info.tags), str(info.artifacts)]

    def on_study_end(self, metrics, params, artifacts, *, state="complete"):
        texts = [file for file in artifacts.values() if file.suffix in {".txt", ".html", ".csv"}]
        self.texts += [file.read_text() for file in texts]

    def close(self, timeout=60.0):
        return f"could not reach http://a:{SECRET}@h"


def needs_a_server(estimator, X, y):
    raise ConnectionError(f"no answer of postgresql://ada:{SECRET}@h/db")


def test_what_trackers_are_told_and_notes_are_without(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 2)), rng.integers(0, 2, 40)
    fields = {
        "name": "x",
        "estimator": LogisticRegression(),
        "data": StudyData(X=X, y=y),
        "search_space": {"C": [0.1, 1.0]},
        "n_trials": 1,
        "cv": 2,
        "storage": f"sqlite:///{tmp_path}/s.db",
        "tracker": "null",
    }
    told = Told()
    text = f"storage = 'postgresql://ada:{SECRET}@h/db'"
    result = run_study(Study(**fields), observers=[told], artifacts={"study.py": text})
    assert any("storage = 'postgresql://ada:***@h/db'" in text for text in told.texts)
    assert "could not reach http://a:***@h" in result.notes
    failing = Study(**{**fields, "name": "y", "scoring": needs_a_server})
    with pytest.raises(HpoError) as failed:
        run_study(failing, observers=[told])
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("s.db*") if file.is_file())
    for shown in (*told.texts, *result.notes, str(failed.value), kept.decode(errors="replace")):
        assert SECRET not in shown
    assert "ConnectionError: no answer of postgresql://ada:***@h/db" in str(failed.value)
