"""A small base model that is trained where there is no hub."""

import math

import pytest

from hpo.data import load_text, pretrained_base
from hpo.exceptions import DataError

pytestmark = pytest.mark.slow

pytest.importorskip("transformers", reason="needs pip install 'hpo[lora]'")

SIZE = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "abc.txt"
    file.write_text("a quick brown fox jumps over the lazy dog. " * 400, encoding="utf-8")
    return file


def train(corpus, **changes):
    options = {"n_steps": 40, "batch_size": 4, "context_length": 16, "size": SIZE, **changes}
    return pretrained_base(str(corpus), **options)


def loss_of(folder, corpus):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    blocks = torch.as_tensor(load_text(corpus, folder, context_length=16).X_test)
    with torch.no_grad():
        return model(input_ids=blocks, labels=blocks).loss.item()


def test_it_learns_its_corpus_and_is_kept(corpus):
    told = []
    folder = train(corpus, n_steps=120, tell=told.append)
    assert loss_of(folder, corpus) < 0.5 * math.log(SIZE["vocab_size"])
    assert "step 120 of 120" in told[-1]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]  # no scratch left
    n_told = len(told)
    assert train(corpus, n_steps=120, tell=told.append) == folder
    assert len(told) == n_told  # nothing was trained again


def test_other_settings_are_another_model(corpus):
    first = train(corpus, n_steps=1)
    assert train(corpus, n_steps=2) != first
    assert train(corpus, n_steps=1, seed=1) != first


def test_the_same_settings_give_the_same_weights(corpus, tmp_path, monkeypatch):
    first = train(corpus, n_steps=3)
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "another"))
    second = train(corpus, n_steps=3)
    assert first != second
    weights = [(folder / "model.safetensors").read_bytes() for folder in (first, second)]
    assert weights[0] == weights[1]


def test_one_that_fails_leaves_nothing_behind(corpus):
    def stop(line):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        train(corpus, n_steps=1, tell=stop)
    assert list((corpus.parent / "cache" / "models").iterdir()) == []


def test_a_corpus_that_is_nowhere(corpus, monkeypatch):
    monkeypatch.delenv("HPO_DATA", raising=False)
    with pytest.raises(DataError, match="'wikitext2' is not on this machine"):
        train("wikitext2")
