"""The steps on whole models: what they change, what they leave alone, and what they refuse."""

import functools
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.models.made import small_folder, text_file  # noqa: E402

from lilliput.errors import LilliputError, NotApplicable  # noqa: E402
from lilliput.models.compress import Context, compress, format_recipe, parse  # noqa: E402
from lilliput.models.compress.arithmetic.pruning import follows  # noqa: E402
from lilliput.models.compress.calibration_text import calibration_windows  # noqa: E402
from lilliput.models.compress.matrices import matrices  # noqa: E402
from lilliput.models.compress.walk import linear_weights, walk  # noqa: E402
from lilliput.models.linear import (  # noqa: E402
    groups_of_four,
    rows_of,
    still_zero,
)
from lilliput.models.load import load_model  # noqa: E402
from lilliput.models.model import module_of, weights  # noqa: E402

TEXT = 'source="{text}", samples=8, tokens=32'
EVERY = [
    "quantize(weight_bits=4, group_size=16)",
    'quantize(weight_bits=3, method="gptq", group_size=16, {text})',
    'quantize(weight_bits=4, method="gptq", symmetric=False, act_order=True, {text})',
    'quantize(weight_bits=3, method="spqr", {text})',
    "prune_weights(sparsity=0.5)",
    'prune_weights(sparsity=0.5, importance="wanda", pattern="2:4", {text})',
    'prune_weights(sparsity=0.5, importance="sparsegpt", {text})',
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(str(small_folder(tmp_path_factory.mktemp("model"))))


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return text_file(tmp_path_factory.mktemp("text") / "text.txt")


@pytest.fixture(scope="module")
def small_by(model):
    """The model made smaller by a recipe, which several tests begin with; none of them changes it."""
    return functools.cache(lambda whole: compress(model, whole))


def recipe(template, text):
    return template.replace("{text}", TEXT).replace("{text}", str(text))


@pytest.mark.parametrize("template", EVERY)
def test_a_step_changes_every_matrix_of_the_blocks_and_nothing_else(model, text, template):
    before = dict(weights(model))
    digest = model.digest
    small = compress(model, recipe(template, text))
    after = dict(weights(small))
    touched = {name for name in before if not np.array_equal(before[name], after[name])}
    assert touched == set(linear_weights(model.network.module))
    assert model.digest == digest != small.digest
    module: Any = module_of(small, "tied")
    assert module.lm_head.weight is module.model.embed_tokens.weight
    assert all(np.array_equal(one.dense, after[name]) for name, one in small.stored.items())
    assert small.model_bytes < model.model_bytes


@pytest.mark.parametrize("template", EVERY)
def test_the_same_recipe_and_draw_give_the_same_model_and_another_draw_another(model, text, template):
    whole = recipe(template, text)
    one, again = (compress(model, whole, Context(model, draw=1)) for _ in range(2))
    other = compress(model, whole, Context(model, draw=2))
    assert one.digest == again.digest
    assert (one.digest != other.digest) == ("source" in whole)
    assert parse(format_recipe(parse(whole))) == parse(whole)


@pytest.mark.parametrize("rounding", ["nearest", "gptq", "spqr"])
@pytest.mark.parametrize("importance", ["magnitude", "wanda", "sparsegpt"])
def test_what_is_pruned_stays_zero_and_in_its_pattern_through_every_rounding(small_by, text, importance, rounding):
    first = f'prune_weights(sparsity=0.5, importance="{importance}", pattern="2:4"'
    first += ", {text})" if importance != "magnitude" else ")"
    second = f'quantize(weight_bits=4, method="{rounding}"' + (", {text})" if rounding != "nearest" else ")")
    pruned = small_by(recipe(first, text))
    small = compress(pruned, recipe(second, text))
    for name, weight in matrices(small, "test").items():
        assert not weight[matrices(pruned, "test")[name] == 0].any()
        assert follows(weight != 0, (2, 4)) == 1
    assert small.model_bytes < small_by(recipe(second, text)).model_bytes


def test_the_hessians_are_the_inputs_of_the_layers_as_the_blocks_before_were_left(model, text):
    import copy

    windows = calibration_windows(model, Context(model), str(text), 6, 32)
    module = copy.deepcopy(model.network.module)
    rng = np.random.default_rng(0)
    noise = {name: 0.1 * rng.standard_normal(rows_of(w).shape) for name, w in linear_weights(module).items()}
    found = {}

    def change(name, weight, hessian):
        found[name] = hessian
        return (weight + noise[name]).astype(np.float32)

    walk(module, windows, change, Context(model))

    def inputs_of(network, name):
        kept = []
        part = network.get_submodule(name.removesuffix(".weight"))
        hook = part.register_forward_pre_hook(lambda _, args: kept.append(args[0].detach()))
        with torch.inference_mode():
            network(input_ids=torch.from_numpy(windows))
        hook.remove()
        return kept[0].reshape(-1, kept[0].shape[-1]).double().numpy()

    first = inputs_of(model.network.module, "model.layers.0.mlp.down_proj.weight")
    np.testing.assert_allclose(
        found["model.layers.0.mlp.down_proj.weight"], first.T @ first / len(first), rtol=1e-3, atol=1e-5
    )
    half = copy.deepcopy(model.network.module)
    with torch.no_grad():
        for name, part in linear_weights(half).items():
            if ".0." in name:
                part.weight += torch.from_numpy(noise[name]).float()
    second = inputs_of(half, "model.layers.1.self_attn.v_proj.weight")
    np.testing.assert_allclose(
        found["model.layers.1.self_attn.v_proj.weight"], second.T @ second / len(second), rtol=1e-3, atol=1e-4
    )


def test_draws_share_no_window_and_a_source_that_is_too_small_says_how_small(model, text):
    draws = [calibration_windows(model, Context(model, draw=draw), str(text), 10, 40) for draw in range(5)]
    every = np.concatenate(draws)
    assert len({tuple(window) for window in every}) == len(every) == 50
    assert (every[:, 0] == model.tokenizer.bos).all()
    with pytest.raises(LilliputError, match=r"has \d+ windows of 40 tokens .* enough for \d+ draws of 10 samples"):
        calibration_windows(model, Context(model, draw=500), str(text), 10, 40)


def test_random_and_self_generated_text_need_no_file(model):
    for source in ("random", "self"):
        one = calibration_windows(model, Context(model, draw=1), source, 5, 24)
        assert one.shape == (5, 24)
        assert np.array_equal(one, calibration_windows(model, Context(model, draw=1), source, 5, 24))
        assert not np.array_equal(one, calibration_windows(model, Context(model, draw=2), source, 5, 24))
        assert not np.isin(one[:, 1:], [model.tokenizer.bos]).any() or source == "self"


def test_self_generated_text_is_what_the_model_thinks_likely(model):
    """A model with one favourite token writes little else."""
    import copy
    import dataclasses

    module = copy.deepcopy(model.network.module)
    module.lm_head = torch.nn.Linear(32, module.config.vocab_size)
    torch.nn.init.zeros_(module.lm_head.weight)
    with torch.no_grad():
        module.lm_head.bias.zero_()[77] = 20.0
    fond = dataclasses.replace(model, network=dataclasses.replace(model.network, module=module))
    assert (calibration_windows(fond, Context(fond), "self", 4, 16)[:, 1:] == 77).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('quantize(method="gptq")', 'needs text; add source="c4", say'),
        ('quantize(source="c4")', "reads no text; drop source"),
        ("quantize(weight_bits=9)", "weight_bits is 9; it must be from 2 to 8"),
        ('quantize(method="spqr", source="c4", act_order=True)', "act_order is a way of GPTQ"),
        ('prune_weights(sparsity=0.6, pattern="2:4")', "the pattern 2:4 is a sparsity of 0.5; the sparsity is 0.6"),
        ('prune_weights(sparsity=0.5, pattern="4:2")', "write zeros:group, such as 2:4"),
        ('prune_weights(sparsity=0.5, importance="wanda")', 'needs text; add source="c4", say'),
        ("prune_weights(sparsity=1.0)", r"must be in \[0, 1\)"),
        ("sharpen()", "unknown step 'sharpen'"),
    ],
)
def test_a_recipe_that_means_nothing_is_refused_before_anything_is_loaded(text, message):
    with pytest.raises(LilliputError, match=message):
        parse(text)


def test_what_is_there_already_is_not_done_again(model, text):
    with pytest.raises(NotApplicable, match=r"a sparsity of 0\.5 is there already"):
        compress(model, "prune_weights(sparsity=0.5) | prune_weights(sparsity=0.5)")
    with pytest.raises(LilliputError, match="quantized already"):
        compress(model, "quantize(weight_bits=4) | quantize(weight_bits=3)")
    with pytest.raises(LilliputError, match="prune before quantize"):
        compress(
            model, recipe("quantize(weight_bits=4) | prune_weights(sparsity=0.5, importance='sparsegpt', {text})", text)
        )


def test_codes_that_are_pruned_are_zero_and_take_no_bits(model):
    rounded = compress(model, "quantize(weight_bits=4, group_size=16)")
    both = compress(rounded, "prune_weights(sparsity=0.5)")
    assert both.model_bytes < rounded.model_bytes
    for name, weight in matrices(both, "test").items():
        assert (weight == 0).mean() >= 0.5
        np.testing.assert_array_equal(weight, both.stored[name].dense)
    n, still = still_zero(both) or (0, 0)
    assert n == still > 0


def distance(network, model, text):
    """How far the network's next tokens are from the model's, on text that trained nothing."""
    unseen = calibration_windows(model, Context(model, draw=7), str(text), 8, 32)
    with torch.inference_mode():
        wanted, found = (
            torch.log_softmax(one.network.module(input_ids=torch.from_numpy(unseen)).logits, -1)
            for one in (model, network)
        )
    return torch.nn.functional.kl_div(found, wanted, log_target=True, reduction="sum").item()


def test_lora_brings_a_pruned_model_nearer_to_the_uncompressed_one_and_keeps_its_zeros(model, text):
    pruned = compress(model, 'prune_weights(sparsity=0.5, pattern="2:4")')
    context = Context(model, draw=1)
    lora = recipe("lora(rank=4, steps=30, learning_rate=0.01, {text})", text)
    adapted = compress(pruned, lora, context)
    assert distance(adapted, model, text) < 0.9 * distance(pruned, model, text)
    before, after = matrices(pruned, "test"), matrices(adapted, "test")
    assert all(not after[name][before[name] == 0].any() for name in before)
    assert not any(np.array_equal(before[name], after[name]) for name in before)
    assert {name for name, _ in weights(adapted)} == {name for name, _ in weights(model)}
    assert compress(pruned, lora, context).digest == adapted.digest


@pytest.mark.parametrize("method", ["gptq", "spqr"])
def test_training_and_rounding_keep_what_was_pruned(model, text, method):
    pruned = 'prune_weights(sparsity=0.5, pattern="2:4")'
    after = f'finetune(steps=3, {{text}}) | quantize(weight_bits=3, method="{method}", {{text}})'
    both = compress(model, recipe(f"{pruned} | {after}", text))
    n, still = still_zero(both) or (0, 0)
    assert n == still > 0
    assert len(set(groups_of_four(both))) == 1


def test_adapters_stand_beside_codes_and_bring_them_nearer(model, text):
    lora = recipe("lora(rank=4, steps=30, learning_rate=0.01, {text})", text)
    rounded = compress(model, "quantize(weight_bits=3)")
    adapted = compress(model, f"quantize(weight_bits=3) | {lora}", Context(model, draw=1))
    before, after = matrices(rounded, "test"), matrices(adapted, "test")
    for name, one in adapted.stored.items():
        np.testing.assert_array_equal(one.codes, rounded.stored[name].codes)
        difference = after[name] - before[name]
        assert np.linalg.matrix_rank(difference, tol=1e-4) == 4
    inside = sum(4 * sum(one.codes.shape) * 2 for one in adapted.stored.values())
    assert adapted.model_bytes == rounded.model_bytes + inside
    assert distance(adapted, model, text) < 0.9 * distance(rounded, model, text)
    with pytest.raises(LilliputError, match="adapt once"):
        compress(adapted, "lora(steps=1)")


def test_half_leaves_what_no_file_holds_as_whoever_loads_it_has_it(model):
    halved = module_of(compress(model, "half()"), "test")
    stored = set(halved.state_dict())
    kinds = {name in stored: tensor.dtype for name, tensor in (*halved.named_parameters(), *halved.named_buffers())}
    assert kinds == {True: torch.float16, False: torch.float32}
