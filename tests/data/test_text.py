"""Texts as blocks of tokens."""

import os
import sys

import numpy as np
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before transformers is loaded

from hpo.data import ContiguousHoldout, load_text
from hpo.exceptions import DataError

LETTERS = "abcdefghij \n"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return a folder with a tokenizer that has a token for each letter, from 2 on."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocab = {token: i for i, token in enumerate(["<unk>", "<s>", *LETTERS])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    folder = tmp_path_factory.mktemp("tokenizer")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", model_max_length=64
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def file(tmp_path):
    def write(text, name="text.txt"):
        path = tmp_path / name
        path.write_bytes(text.encode())
        return path

    return write


def letters(blocks):
    return "".join(LETTERS[i - 2] for i in blocks.ravel())


def test_blocks_follow_each_other_without_a_gap(model, file):
    text = "abcde fghij\n" * 10  # 120 letters
    data = load_text(file(text), model, context_length=7, test_size=0.25)
    assert data.X.shape == (13, 7)
    assert data.X_test.shape == (4, 7)
    assert data.X.dtype == np.int64
    assert letters(data.X) + letters(data.X_test) == text[: 17 * 7]
    assert data.y is data.X
    assert data.y_test is data.X_test


def test_several_files_are_one_text(model, file):
    files = [file("abc" * 5, "a"), file("def" * 5, "b")]
    data = load_text(files, str(model), context_length=5, test_size=0)
    assert letters(data.X) == "abc" * 5 + "def" * 5
    assert data.X_test is None


def test_special_tokens_in_a_text_are_letters_of_it(model, file):
    data = load_text(file("abc<s>def" * 4), model, context_length=9, test_size=0)
    assert 1 not in data.X
    assert data.X.shape == (4, 9)


def test_byte_order_marks_and_line_ends_of_other_systems_are_left_out(model, file):
    data = load_text(file("﻿abc\r\ndef\r\n" * 1 + "ab"), model, context_length=2, test_size=0)
    assert letters(data.X) == "abc\ndef\nab"


def test_a_corpus_is_found_by_its_name(model, tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_CACHE", str(tmp_path))
    monkeypatch.delenv("HPO_DATA", raising=False)
    (tmp_path / "wikitext2").mkdir()
    (tmp_path / "wikitext2" / "train.txt").write_text("abcd" * 5)
    (tmp_path / "wikitext2" / "test.txt").write_text("ef" * 5)
    data = load_text("wikitext2", model, context_length=5)
    assert letters(data.X) == "abcd" * 5
    assert letters(data.X_test) == "ef" * 5


def test_the_licence_of_project_gutenberg_is_no_part_of_a_book(model, file):
    text = (
        "jjjj\n*** START OF THIS PROJECT GUTENBERG EBOOK ***\nabcabcabc\n"
        "*** END OF THIS PROJECT GUTENBERG EBOOK ***\njjjj"
    )
    data = load_text(file(text), model, context_length=5, test_size=0)
    assert letters(data.X) == "abcabcabc\n"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"context_length": 1}, r"context_length must be at least 2\. Got 1"),
        ({"context_length": 65}, r"context_length=65 is more than the 64 tokens that the model"),
        ({"test_size": 1.0}, r"test_size must be from 0 to below 1\. Got 1\.0"),
        ({"context_length": 30}, r"The text is too short: it has 2 blocks of 30 tokens, 1 of them"),
    ],
)
def test_what_does_not_fit_is_told(model, file, params, message):
    with pytest.raises(DataError, match=f"^{message}"):
        load_text(file("abcdef" * 12), model, **{"context_length": 8, **params})


def test_a_text_that_is_nowhere_is_told(model, tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"^There is no file 'wikitext', did you mean 'wikitext2'"):
        load_text("wikitext", model)
    monkeypatch.setenv("HPO_DATA", str(tmp_path))
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match=r"^The text 'wikitext2' is .*train\.txt.* Set HPO_DATA"):
        load_text("wikitext2", model)
    with pytest.raises(DataError, match=r"^There is no text: give at least one file\."):
        load_text([], model)


def test_a_text_in_another_encoding_is_told(model, tmp_path):
    (tmp_path / "latin").write_bytes("é".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin is not a text in UTF-8"):
        load_text(tmp_path / "latin", model)


def test_a_tokenizer_that_is_nowhere_is_told(file, tmp_path):
    with pytest.raises(DataError, match=r"^The tokenizer of the model '.*' cannot be loaded\."):
        load_text(file("abc"), tmp_path)


def test_a_missing_library_is_told(model, file, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"^Texts need the package 'transformers': pip inst"):
        load_text(file("abc"), model)


@pytest.mark.parametrize(("n", "size", "n_valid"), [(10, 0.2, 2), (10, 0.01, 1), (7, 0.5, 4)])
def test_a_holdout_is_the_last_share(n, size, n_valid):
    from sklearn.model_selection import check_cv

    splitter = ContiguousHoldout(size)
    assert check_cv(splitter) is splitter
    ((train, valid),) = splitter.split(np.zeros((n, 3)))
    assert [*train, *valid] == list(range(n))
    assert len(valid) == n_valid
    assert splitter.get_n_splits() == 1


@pytest.mark.parametrize("size", [0, 1, 1.5])
def test_a_holdout_of_nothing_or_all_is_refused(size):
    with pytest.raises(DataError, match=r"^The size of a hold-out must be between 0 and 1"):
        ContiguousHoldout(size)
