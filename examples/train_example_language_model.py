"""Trains the small language model in examples/models/ on the bytes of this documentation, some minutes on a core.

    pip install -c constraints.txt -e '.[language]'
    python examples/train_example_language_model.py

It reads everything but docs/pitfalls.md, which is left for judging.
"""

import argparse
import math
import shutil
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

ROOT = Path(__file__).parent.parent
HELD_OUT = "pitfalls.md"
WINDOW = 128


def tokenizer() -> PreTrainedTokenizerFast:
    """A token a byte, and one that begins a text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({"<s>": 0, **{letter: 1 + n for n, letter in enumerate(alphabet)}}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>")


def main() -> None:
    """Trains and saves."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--folder", type=Path, default=ROOT / "examples" / "models" / "language")
    arguments.add_argument("--steps", type=int, default=1500)
    given = arguments.parse_args()
    torch.manual_seed(0)
    reader = tokenizer()
    files = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != HELD_OUT)]
    tokens = np.concatenate([np.array(reader(path.read_text())["input_ids"], np.int64) for path in files])
    config = LlamaConfig(
        vocab_size=len(reader),
        hidden_size=48,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01, betas=(0.9, 0.98))
    rng = np.random.default_rng(0)
    for step in range(given.steps):
        rate = min(step / 100, 1) * (1 + math.cos(math.pi * step / given.steps)) / 2
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * rate
        starts = rng.integers(0, len(tokens) - WINDOW, 32)
        batch = np.stack([np.concatenate([[0], tokens[start : start + WINDOW - 1]]) for start in starts])
        ids = torch.from_numpy(batch)
        loss = model(input_ids=ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 99:
            print(f"step {step + 1}: {loss.item() / math.log(2):.2f} bits a byte", flush=True)
    shutil.rmtree(given.folder, ignore_errors=True)
    model.save_pretrained(given.folder)
    reader.save_pretrained(given.folder)
    print(f"{sum(tensor.numel() for tensor in model.parameters()):,} parameters in {given.folder}")


if __name__ == "__main__":
    main()
