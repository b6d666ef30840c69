"""A small vision transformer that is trained where there is no hub."""

import numpy as np
import pytest

from hpo.data import pretrained_vit
from hpo.data.mnist import find_root, load_mnist

pytestmark = pytest.mark.slow

pytest.importorskip("transformers", reason="needs pip install 'hpo[lora]'")

SIZE = {
    "patch_size": 14,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


def test_it_learns_its_digits_and_is_kept(tmp_path, monkeypatch):
    if find_root(None) is None:
        pytest.skip("no data: MNIST")
    import torch
    from transformers import AutoModelForImageClassification

    monkeypatch.setenv("HPO_CACHE", str(tmp_path))
    told = []
    options = {"n_images": 1_000, "n_epochs": 3, "size": SIZE, "tell": told.append}
    folder = pretrained_vit((3, 7), **options)
    assert "step 48 of 48" in told[-1]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]  # no scratch left
    n_told = len(told)
    assert pretrained_vit((3, 7), **options) == folder
    assert len(told) == n_told  # nothing was trained again
    assert pretrained_vit((3, 7), **{**options, "n_epochs": 1}) != folder

    data = load_mnist(flat=False)
    rows = np.isin(data.y_test, (3, 7))
    model = AutoModelForImageClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        predicted = model(torch.as_tensor(data.X_test[rows])).logits.argmax(1).numpy()
    assert np.mean(predicted == (data.y_test[rows] == 7)) > 0.9
