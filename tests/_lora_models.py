"""Small pretrained models of several kinds, made from configs, with data for each."""

import os
from functools import partial
from typing import Any, NamedTuple

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before transformers is loaded

import numpy as np
import torch
from skorch import NeuralNet, NeuralNetClassifier
from torch import nn

from hpo.nets import LoRAMixin, TokenLoss


class LoRAClassifier(LoRAMixin, NeuralNetClassifier):
    """A classifier on logits."""


class LoRANet(LoRAMixin, NeuralNet):
    """A net with any criterion."""


class Kind(NamedTuple):
    """A model, its data, and how peft's users adapt it."""

    model: nn.Module
    net: Any
    X: Any
    y: np.ndarray
    peft: dict[str, Any]
    """Arguments of LoraConfig, as people type them."""
    ours: dict[str, Any]
    """Arguments of AdaptedNet that mean the same."""


def mlp():
    """Return a perceptron of three layers."""
    layers = [nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 16), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(16, 3))


def _bert(task, **kwargs):
    import transformers

    config = transformers.BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
        num_labels=3,
        **kwargs,
    )
    return getattr(transformers, f"BertFor{task}")(config)


def _t5():
    from transformers import T5Config, T5ForConditionalGeneration

    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=40,
            d_model=16,
            d_kv=8,
            d_ff=24,
            num_layers=1,
            num_heads=2,
            decoder_start_token_id=0,
        )
    )


def _vit():
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(
        ViTConfig(
            image_size=8,
            patch_size=4,
            num_channels=1,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=24,
            num_labels=3,
        )
    )


def _conv():
    from torchvision.models.resnet import BasicBlock, ResNet

    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3)


def _conv_of_transformers():
    from transformers import ResNetConfig, ResNetForImageClassification

    return ResNetForImageClassification(
        ResNetConfig(
            num_channels=1,
            embedding_size=8,
            hidden_sizes=[8, 16],
            depths=[1, 1],
            layer_type="basic",
            num_labels=3,
        )
    )


def _torchvision_vit():
    from torchvision.models import VisionTransformer

    return VisionTransformer(
        image_size=8,
        patch_size=4,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=24,
        num_classes=3,
    )


def _tokens(rng, n=20, length=7):
    X = {"input_ids": rng.integers(2, 40, size=(n, length))}
    X["attention_mask"] = (np.arange(length) < rng.integers(3, length + 1, size=(n, 1))).astype(int)
    return X


def _images(rng, channels=1, size=8, n=20):
    return rng.normal(size=(n, channels, size, size)).astype(np.float32)


def kind(name: str) -> Kind:
    """Return one of the kinds; its weights and data are always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 3, size=20)
        return _KINDS[name](rng, labels)


CLASSIFIER = partial(LoRAClassifier, criterion=nn.CrossEntropyLoss)
TOKENS = partial(LoRANet, criterion=TokenLoss)


def _mlp_kind(rng, labels):
    X = rng.normal(size=(20, 8)).astype(np.float32)
    usual = {"target_modules": ["0", "3"], "modules_to_save": ["5"]}
    return Kind(mlp(), CLASSIFIER, X, labels, usual, {})


def _sequences_kind(rng, labels):
    usual = {"target_modules": ["query", "value"], "task_type": "SEQ_CLS"}
    ours = {"target_modules": ["query", "value"]}
    return Kind(_bert("SequenceClassification"), CLASSIFIER, _tokens(rng), labels, usual, ours)


def _tokens_kind(rng, labels):
    y = rng.integers(0, 3, size=(20, 7))
    y[:, -1] = -100
    usual = {"target_modules": "all-linear", "modules_to_save": ["classifier"]}
    return Kind(_bert("TokenClassification"), TOKENS, _tokens(rng), y, usual, {})


def _seq2seq_kind(rng, labels):
    y = rng.integers(2, 40, size=(20, 5))
    X = {**_tokens(rng), "decoder_input_ids": np.pad(y[:, :-1], ((0, 0), (1, 0)))}
    usual = {"target_modules": ["q", "v"], "task_type": "SEQ_2_SEQ_LM"}
    return Kind(_t5(), TOKENS, X, y, usual, {"target_modules": ["q", "v"]})


def _vit_kind(rng, labels):
    usual = {"target_modules": "all-linear", "modules_to_save": ["classifier"]}
    return Kind(_vit(), CLASSIFIER, _images(rng), labels, usual, {})


def _conv_kind(rng, labels):
    usual = {"target_modules": ["conv1", "conv2"], "modules_to_save": ["fc"]}
    ours = {"target_modules": ["conv1", "conv2"]}
    return Kind(_conv(), CLASSIFIER, _images(rng, 3, 16), labels, usual, ours)


def _conv_of_transformers_kind(rng, labels):
    usual = {"target_modules": ["convolution"], "modules_to_save": ["classifier"]}
    ours = {"target_modules": "all-conv"}
    return Kind(_conv_of_transformers(), CLASSIFIER, _images(rng, 1, 16), labels, usual, ours)


def _torch_vit_kind(rng, labels):
    usual = {"target_modules": ["self_attention", "mlp.0", "mlp.3"], "modules_to_save": ["heads"]}
    return Kind(_torchvision_vit(), CLASSIFIER, _images(rng, 3), labels, usual, {})


_KINDS = {
    "mlp": _mlp_kind,
    "sequences": _sequences_kind,
    "tokens": _tokens_kind,
    "seq2seq": _seq2seq_kind,
    "vit": _vit_kind,
    "conv": _conv_kind,
    "conv of transformers": _conv_of_transformers_kind,
    "torch vit": _torch_vit_kind,
}
NAMES = tuple(_KINDS)
