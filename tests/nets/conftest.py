"""A tiny Llama with random weights, in a folder, and blocks of tokens for it."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before transformers is loaded

import numpy as np
import pytest
import torch

N_TOKENS = 64


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Return the folder of a Llama of two layers of width 32."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=N_TOKENS,
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=32,
                tie_word_embeddings=True,
                initializer_range=0.2,  # a model that says something
            )
        )
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def blocks():
    """Return 24 blocks of 12 tokens, where each token says much about the next."""
    rng = np.random.default_rng(0)
    steps = rng.choice([1, 2, 3], p=[0.8, 0.1, 0.1], size=(24, 12))
    return np.cumsum(steps, axis=1) % N_TOKENS
