"""stories260K converted: the same model and the same tokens as llama2.c's.

Most of it needs the model's files in $HPO_DATA/models/stories260k.
"""

import os
import random
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before transformers is loaded

from hpo.data import find_stories260k, load_text
from hpo.data import stories260k as module_of_it
from hpo.data._llama2c import convert
from hpo.exceptions import DataError

pytestmark = pytest.mark.slow

SOURCE = Path(os.environ.get("HPO_DATA", "")) / "models" / "stories260k"
needs_files = pytest.mark.skipif(
    not (SOURCE / "stories260K.bin").is_file(),
    reason="needs stories260K in $HPO_DATA/models/stories260k",
)

STORY = """\
Once upon a time, there was a little girl named Lily. She loved to play outside in the park. \
One day, she saw a big, red ball. She wanted to play with it, but it was too high.
Lily's mom said, "Lily, let's go to the park." Lily was sad and didn't know what to do. She said, \
"I want to play with your ball, but I can't find it."
Lily was sad and didn't know what to do. She said, "I'm sorry, Lily. I didn't know what to do."
Lily didn't want to help her mom, so she said, "I'm sorry, mom. I didn't know what to do." \
Her mom said, "Don't worry, Lily. We can help you."""
"""What the model says at temperature 0, from llama2.c's doc/stories260K.md."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    before = os.environ.get("HPO_CACHE")
    os.environ["HPO_CACHE"] = str(tmp_path_factory.mktemp("models"))
    try:
        return find_stories260k()
    finally:
        os.environ.pop("HPO_CACHE")
        if before is not None:
            os.environ["HPO_CACHE"] = before


@pytest.fixture(scope="module")
def model(folder):
    from transformers import AutoModelForCausalLM, utils

    utils.logging.disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def tokenizer(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@needs_files
def test_it_tells_the_story_that_llama2c_tells(model, tokenizer):
    tokens = model.generate(torch.tensor([[1]]), max_new_tokens=256, do_sample=False)
    assert tokenizer.decode(tokens[0], skip_special_tokens=True) == STORY
    assert model.num_parameters() == 260_032


@needs_files
@pytest.mark.parametrize(
    ("file", "n_tokens", "expected"),
    [("tinyshakespeare/input.txt", 3000, 4.28), ("wikitext2/valid.txt", 120_000, 5.40)],
)
def test_its_loss_on_the_beginnings_of_other_texts(model, folder, file, n_tokens, expected):
    data = load_text(SOURCE.parents[1] / file, folder, context_length=128, test_size=0)
    blocks = torch.as_tensor(data.X[: n_tokens // 128])
    with torch.no_grad():
        losses = [len(x) * model(input_ids=x, labels=x).loss.item() for x in blocks.split(32)]
    assert sum(losses) / len(blocks) == pytest.approx(expected, abs=0.01)


def encode(text, pieces):
    """Return what ``encode`` of llama2.c's run.c does without its begin and end."""
    ids = {piece: i for i, (piece, _) in enumerate(pieces)}
    tokens = [ids[" "]]
    for letter in text:
        tokens += [ids[letter]] if letter in ids else [byte + 3 for byte in letter.encode()]
    while True:
        best, where, merged = -1e10, None, None
        for i in range(len(tokens) - 1):
            token = ids.get(pieces[tokens[i]][0] + pieces[tokens[i + 1]][0])
            if token is not None and pieces[token][1] > best:
                best, where, merged = pieces[token][1], i, token
        if where is None:
            return tokens
        tokens[where : where + 2] = [merged]


def read_pieces(file):
    content, place, pieces = file.read_bytes(), 4, []
    while place < len(content):
        score, length = struct.unpack_from("<fi", content, place)
        place += 8 + length
        pieces.append((content[place - length : place].decode(), score))
    return pieces


@needs_files
def test_texts_are_read_as_llama2c_reads_them(tokenizer):
    pieces = read_pieces(SOURCE / "tok512.bin")
    rng = random.Random(0)
    texts = [
        "a",
        " lead",
        "  two",
        "two  spaces",
        "end ",
        "\n\n \n",
        "日本語 ▁",
        "<s> <unk> </s>",
        "-----",
    ]
    for name in ("tinyshakespeare/input.txt", "wikitext2/valid.txt", "war_and_peace/2600-0.txt"):
        corpus = (SOURCE.parents[1] / name).read_text(encoding="utf-8-sig")
        starts = [rng.randrange(len(corpus) - 200) for _ in range(30)]
        texts += [corpus[start : start + rng.randrange(1, 200)] for start in starts]
    for text in texts:
        tokens = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert tokens == encode(text, pieces)
        assert tokenizer.decode(tokens) == text


@needs_files
def test_it_is_converted_once_and_by_one(tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_CACHE", str(tmp_path))
    calls = []

    def counted(*args):
        calls.append(args)
        convert(*args)

    monkeypatch.setattr(module_of_it, "convert", counted)
    found = []
    threads = [threading.Thread(target=lambda: found.append(find_stories260k())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    n_calls = len(calls)
    assert {*found, find_stories260k()} == {found[0]}
    assert len(calls) == n_calls
    assert list((tmp_path / "models").iterdir()) == [found[0]], "nothing half-made is left"
    assert {file.name for file in found[0].iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def head(**sizes):
    given = dict(dim=8, hidden=4, layers=1, heads=2, kv_heads=1, vocab=300, context=4)
    return struct.pack("<7i", *{**given, **sizes}.values())


def pieces_of(n):
    texts = [str(i).encode() for i in range(n)]
    return struct.pack("<i", 3) + b"".join(struct.pack("<fi", 0, len(t)) + t for t in texts)


def n_weights(vocab=300, dim=8, hidden=4, context=4):
    attention = dim * dim * 2 + dim * 4 * 2
    return vocab * dim + dim + attention + dim + 3 * hidden * dim + dim + 2 * context * 2


@pytest.mark.parametrize(
    ("weights", "tokenizer", "damaged"),
    [
        (n_weights(), pieces_of(300), False),
        (n_weights() + 1, pieces_of(300), True),
        (n_weights() - 1, pieces_of(300), True),
        (n_weights(), pieces_of(301), True),
        (n_weights(), pieces_of(299), True),
    ],
    ids=["whole", "too long", "cut off", "too many pieces", "too few pieces"],
)
def test_damaged_files_are_told_and_leave_nothing(
    tmp_path, monkeypatch, weights, tokenizer, damaged
):
    monkeypatch.delenv("HPO_DATA", raising=False)
    monkeypatch.setenv("HPO_CACHE", str(tmp_path))
    source = tmp_path / "models" / "stories260k"
    source.mkdir(parents=True)
    (source / "stories260K.bin").write_bytes(head() + bytes(4 * weights))
    (source / "tok512.bin").write_bytes(tokenizer)
    if damaged:
        with pytest.raises(DataError, match=r"damaged .* Replace them by whole copies\."):
            find_stories260k()
        assert [file.name for file in (tmp_path / "models").iterdir()] == ["stories260k"]
    else:
        assert (find_stories260k() / "config.json").is_file()


def test_a_head_of_its_own_is_kept(tmp_path):
    size = n_weights() + 300 * 8
    numbers = np.arange(size, dtype="<f4")
    (tmp_path / "m.bin").write_bytes(head(vocab=-300) + numbers.tobytes())
    (tmp_path / "t.bin").write_bytes(pieces_of(300))
    (tmp_path / "out").mkdir()
    convert(tmp_path / "m.bin", tmp_path / "t.bin", tmp_path / "out")
    from safetensors.numpy import load_file

    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert weights["lm_head.weight"].ravel()[-1] == size - 1
    assert weights["model.embed_tokens.weight"].ravel()[0] == 0


def test_nowhere_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match=r"^The model stories260K is not on .*Set HPO_DATA"):
        find_stories260k()
