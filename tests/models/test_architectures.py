"""Language models of other architectures than Llama: each is read, made small and written as transformers has it."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("compressed_tensors")

import torch
import transformers
from examples.train_example_language_model import tokenizer
from tests.models.made import text_file

from lilliput.errors import LilliputError, NotApplicable
from lilliput.models.compress import Context, check, compress, parse
from lilliput.models.compress.walk import linear_weights, walk
from lilliput.models.export import export, open_artifact
from lilliput.models.linear import is_transposed, rows_of
from lilliput.models.load import load_model
from lilliput.models.model import module_of
from lilliput.models.session import open_session
from lilliput.models.task import parse_task

_NARROW = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 128}
_WIDE = {**_NARROW, "intermediate_size": 64, "num_key_value_heads": 2}
CONFIGS = {
    "gpt2": ("GPT2Config", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}),
    "openai-gpt": ("OpenAIGPTConfig", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}),
    "opt": ("OPTConfig", {**_NARROW, "ffn_dim": 64, "word_embed_proj_dim": 16, "do_layer_norm_before": False}),
    "gpt_neox": ("GPTNeoXConfig", {**_NARROW, "intermediate_size": 64}),
    "gemma3": ("Gemma3TextConfig", {**_WIDE, "head_dim": 8, "sliding_window": 8,
                                    "layer_types": ["sliding_attention", "full_attention"]}),
    "qwen2": ("Qwen2Config", _WIDE),
    "falcon": ("FalconConfig", {**_NARROW}),
    "bloom": ("BloomConfig", {"hidden_size": 32, "n_layer": 2, "n_head": 4}),
}  # fmt: skip


@pytest.fixture(scope="module", params=CONFIGS)
def folder(request, tmp_path_factory):
    reader = tokenizer()
    name, given = CONFIGS[request.param]
    config = getattr(transformers, name)(
        vocab_size=len(reader) + 1, bos_token_id=0, eos_token_id=0, pad_token_id=0, **given
    )
    torch.manual_seed(0)
    module = transformers.AutoModelForCausalLM.from_config(config)
    for weight in module.parameters():  # biases and norms that would be seen to be missing
        weight.data += 0.1 * torch.randn_like(weight)
    made = tmp_path_factory.mktemp(request.param)
    module.save_pretrained(made)
    reader.save_pretrained(made)
    return made


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return text_file(tmp_path_factory.mktemp("text") / "text.txt")


def test_it_answers_as_in_transformers_and_every_recipe_is_what_its_artifact_is(folder, text, tmp_path):
    model = load_model(str(folder))
    ids = np.random.default_rng(0).integers(0, 257, (2, 24))
    with torch.inference_mode():
        wanted = transformers.AutoModelForCausalLM.from_pretrained(folder)(torch.from_numpy(ids)).logits.numpy()
    assert np.array_equal(open_session(model).answer({"input_ids": ids})["logits"], wanted)
    calibrated = f'source="{text}", samples=4, tokens=32'
    for at, recipe in enumerate((
        "quantize(weight_bits=4, group_size=16)",
        f'quantize(weight_bits=4, method="gptq", {calibrated})',
        f'prune_weights(sparsity=0.5, importance="wanda", {calibrated}) | finetune(steps=1, {calibrated})',
        f"prune_weights(sparsity=0.5) | quantize(weight_bits=4) | lora(rank=2, steps=1, {calibrated})",
    )):  # fmt: skip
        small = compress(model, recipe, Context(model))
        artifact = export(small, "transformers", tmp_path / str(at))
        loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / str(at))
        with torch.inference_mode():
            plain = loaded(torch.from_numpy(ids)).logits.numpy()
        np.testing.assert_allclose(open_artifact(artifact.folder).answer({"input_ids": ids})["logits"], plain)
        assert np.abs(plain - wanted).max() > 1e-4
        assert artifact.zeros is None or (artifact.zeros[0] > 0 and artifact.zeros[0] == artifact.zeros[1])
        n_linear = sum(rows_of(part).numel() for part in linear_weights(module_of(model, "")).values())
        if "prune" not in recipe:
            assert model.model_bytes - small.model_bytes > 3 * n_linear  # from 4 bytes to half of one, with its scales
        else:
            assert artifact.zeros == (n_linear // 2, n_linear // 2)


def test_each_hessian_is_of_what_the_layer_gets_when_the_model_runs(folder, text):
    module = module_of(load_model(str(folder)), "")
    windows = np.random.default_rng(0).integers(0, 257, (3, 24))
    walked, plain = {}, {}

    def unchanged(name, weight, hessian):
        walked[name] = hessian
        return weight

    def gather(name):
        def hook(_, args):
            x = args[0].reshape(-1, args[0].shape[-1]) if isinstance(args[0], torch.Tensor) else None
            if x is not None:
                plain[name] = (x.T @ x / len(x)).numpy()

        return hook

    hooks = [part.register_forward_pre_hook(gather(name)) for name, part in linear_weights(module).items()]
    with torch.inference_mode():
        module(torch.from_numpy(windows))
    for hook in hooks:
        hook.remove()
    before = {name: rows_of(part).clone() for name, part in linear_weights(module).items()}
    walk(module, windows, unchanged, Context(load_model(str(folder))))
    assert list(walked) == list(before)
    for name, hessian in plain.items():
        np.testing.assert_allclose(walked[name], hessian, rtol=1e-4, atol=1e-5 * np.abs(hessian).max())
    for name, part in linear_weights(module).items():
        assert torch.equal(rows_of(part), before[name])
        assert before[name].shape[1] == walked[name].shape[0]
        assert is_transposed(part) == (type(part).__name__ == "Conv1D")


def test_tokens_that_the_model_does_not_know_are_refused_where_they_stand_in_a_text(tmp_path):
    reader = tokenizer()
    known = len(reader)
    reader.add_tokens(["<picture>"])
    narrow: dict[str, Any] = {**_NARROW, "intermediate_size": 64}
    config = transformers.GPTNeoXConfig(vocab_size=known, **narrow)
    transformers.GPTNeoXForCausalLM(config).save_pretrained(tmp_path)
    reader.save_pretrained(tmp_path)
    found = load_model(str(tmp_path)).tokenizer
    assert found is not None
    assert found.n_tokens == known
    assert found.encode("abc").max() < known
    with pytest.raises(LilliputError, match=r"has the token '<picture>', which the tokenizer knows and the model"):
        found.encode("a <picture>")


def test_a_model_that_torch_cannot_run_in_float16_is_refused_in_one_line(tmp_path):
    tokenizer().save_pretrained(tmp_path)
    config = transformers.OpenAIGPTConfig(vocab_size=257, n_embd=32, n_layer=1, n_head=4, n_positions=64)
    transformers.OpenAIGPTLMHeadModel(config).save_pretrained(tmp_path)
    small = compress(load_model(str(tmp_path)), "half()")
    with pytest.raises(LilliputError, match="torch does not run the model"):
        export(small, "transformers", tmp_path / "out")


def test_weights_of_bfloat16_are_packed_as_transformers_unpacks_them(text, tmp_path):
    reader = tokenizer()
    given: dict[str, Any] = {**_WIDE, "head_dim": 8, "sliding_window": 8}
    config = transformers.MistralConfig(vocab_size=len(reader), **given)
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).bfloat16().save_pretrained(tmp_path / "model")
    reader.save_pretrained(tmp_path / "model")
    model = load_model(str(tmp_path / "model"))
    for at, recipe in enumerate((
        "quantize(weight_bits=8)",
        f'quantize(weight_bits=4, method="gptq", group_size=16, source="{text}", samples=4, tokens=32)',
    )):  # fmt: skip
        small = compress(model, recipe, Context(model))
        artifact = export(small, "transformers", tmp_path / str(at))
        assert not artifact.notes  # packed
        ids = np.random.default_rng(0).integers(0, 256, (2, 24))
        both = [
            one.answer({"input_ids": ids})["logits"] for one in (open_session(small), open_artifact(artifact.folder))
        ]
        assert np.array_equal(both[0], both[1])


@pytest.mark.parametrize("kind", ["Bert", "XLNet"])
def test_a_model_that_reads_ahead_is_not_judged_as_a_language_model(kind, text, tmp_path):
    reader = tokenizer()
    reader.save_pretrained(tmp_path)
    given = {"Bert": {**_NARROW, "intermediate_size": 64}, "XLNet": {"d_model": 32, "n_layer": 2, "n_head": 4}}[kind]
    config = getattr(transformers, f"{kind}Config")(vocab_size=len(reader), pad_token_id=0, **given)
    torch.manual_seed(0)
    whole = transformers.AutoModelForMaskedLM if kind == "Bert" else transformers.AutoModelForCausalLM
    module = whole.from_config(config)
    for weight in module.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    module.save_pretrained(tmp_path)
    model = load_model(str(tmp_path))
    with pytest.raises(NotApplicable, match="reads the tokens behind"):
        parse_task(f'perplexity(text="{text}", windows=4, tokens=32)').check(model, open_session(model))


@pytest.mark.parametrize("kind", ["Mixtral", "Mamba"])
def test_matrices_that_no_step_on_weights_takes_are_refused_before_anything_is_computed(kind, tmp_path):
    given = {"Mixtral": {**_WIDE, "num_local_experts": 4}, "Mamba": {"hidden_size": 32, "num_hidden_layers": 2}}[kind]
    reader = tokenizer()
    reader.save_pretrained(tmp_path)
    config = getattr(transformers, f"{kind}Config")(vocab_size=len(reader), pad_token_id=0, **given)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    model = load_model(str(tmp_path))
    refused = r"blocks of Linear layers \(and norms\) are supported: half\(\) and finetune"
    for recipe in ("quantize(weight_bits=4)", "prune_weights(sparsity=0.5)", 'half() | lora(rank=2, source="random")'):
        with pytest.raises(LilliputError, match=refused):
            check(model, parse(recipe))
    check(model, parse("half()"))
    assert compress(model, "half()").model_bytes < 0.6 * model.model_bytes
