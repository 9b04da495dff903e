"""Small models made on the spot, as folders that the transformers library wrote."""

from pathlib import Path


def small_folder(folder: Path, *, seed: int = 0, tied: bool = True) -> Path:
    """A Llama of two blocks over bytes with random weights, in the folder."""
    import torch
    from examples.train_example_language_model import tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    reader = tokenizer()
    reader.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(reader),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=tied,
        bos_token_id=0,
        eos_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def text_file(path: Path, *, seed: int = 0, n_documents: int = 60) -> Path:
    """Documents of random words, no two alike, divided as texts are."""
    import numpy as np

    rng = np.random.default_rng(seed)
    words = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(2, 9))) for _ in range(800)]
    documents = [" ".join(rng.choice(words, 80)) + ".\n" for _ in range(n_documents)]
    path.write_text("<|endoftext|>\n".join(documents))
    return path
