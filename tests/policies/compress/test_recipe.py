import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.policies.compress.strategies import recipes

from lilliput.errors import LilliputError
from lilliput.policies.compress import STEPS, Half, PruneUnits, PruneWeights, Quantize, Recipe, format_recipe, parse


@given(recipes())
def test_a_formatted_recipe_reads_back_as_itself(recipe: Recipe) -> None:
    assert parse(format_recipe(recipe)) == recipe
    assert format_recipe(parse(format_recipe(recipe))) == format_recipe(recipe)


def test_every_step_is_listed_under_its_own_name() -> None:
    assert {name: step.NAME for name, step in STEPS.items()} == {name: name for name in STEPS}
    assert all(isinstance(step.VERSION, int) for step in STEPS.values())


@pytest.mark.parametrize(
    ("text", "recipe", "canonical"),
    [
        ("", (), ""),
        ("  \n ", (), ""),
        ("half( )", (Half(),), "half()"),
        ("prune_units(0.5, 'l2')", (PruneUnits(0.5, "l2"),), 'prune_units(ratio=0.5, importance="l2")'),
        ("prune_units(importance='l1', ratio=0)", (PruneUnits(0.0),), "prune_units(ratio=0.0)"),
        (
            'prune_weights(.25, scope="global")\n | \t quantize(4)',
            (PruneWeights(0.25, "global"), Quantize(4)),
            'prune_weights(sparsity=0.25, scope="global") | quantize(weight_bits=4)',
        ),
        (
            "quantize(observations=4_096, scheme='static', weight_bits=+8)",
            (Quantize(scheme="static", observations=4096),),
            'quantize(scheme="static", observations=4096)',
        ),
    ],
)
def test_texts_have_one_canonical_form(text: str, recipe: Recipe, canonical: str) -> None:
    assert parse(text) == recipe
    assert format_recipe(recipe) == canonical


STEP_NAMES = ", ".join(STEPS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("quantise()", f"recipe: unknown step 'quantise'; did you mean quantize? steps: {STEP_NAMES}"),
        ("foo()", f"recipe: unknown step 'foo'; steps: {STEP_NAMES}"),
        ("half", "recipe: half is a step; write half() or half(name=value, ...)"),
        ("3", "recipe: '3' is no step; write step(name=value, ...) | step(...)"),
        ("half() & half()", "recipe: 'half() & half()' is no step; write step(name=value, ...) | step(...)"),
        ("half()(1)", "recipe: 'half()(1)' is no step; write step(name=value, ...) | step(...)"),
        ("half() |", "recipe: not understood at 'half() |'; write step(name=value, ...) | step(...)"),
        ("half() # then", "recipe: '#' is not allowed; a recipe has no comments"),
        ("half('\\d')", "recipe: not understood at \"'\\\\d')\"; write step(name=value, ...) | step(...)"),
        ("half(1)", "half: 1 values without a name; it has 0 parameters"),
        ("half(x=1)", "half: unknown parameter 'x'; it takes none"),
        ("prune_units()", "prune_units: ratio is missing; write prune_units(ratio=...)"),
        ("prune_units(ratio=1.2)", "prune_units: ratio is 1.2; it must be in [0, 1)"),
        ("prune_units(ratio=-0.1)", "prune_units: ratio is -0.1; it must be in [0, 1)"),
        ("prune_units(1e999)", "prune_units: ratio is inf; it must be in [0, 1)"),
        ("prune_units('half')", "prune_units: ratio is 'half'; it must be a number"),
        ("prune_units(True)", "prune_units: ratio is True; it must be a number"),
        ("prune_units(0.1, ratio=0.2)", "prune_units: ratio is given twice"),
        ("prune_units(ratio=0.1, ratio=0.2)", "prune_units: ratio is given twice"),
        ("prune_units(*[0.1])", "prune_units: '*' is not allowed; write name=value"),
        ("prune_units(**{})", "prune_units: '*' is not allowed; write name=value"),
        ("prune_units(ratio=1 - 0.5)", "prune_units: ratio is '1 - 0.5'; it must be a plain number, string or tuple"),
        (
            "prune_units(0.1, importance=l1)",
            'prune_units: importance is l1 without quotes; write it as text, in quotes: "l1"',
        ),
        ("prune_units(ratio=true)", "prune_units: ratio is true; write True"),
        ("prune_units(ratio=exit())", "prune_units: ratio is 'exit()'; it must be a plain number, string or tuple"),
        (
            "prune_units(0.1, importance='activaton')",
            "prune_units: importance is 'activaton'; did you mean activation? allowed: l1, l2, random, activation",
        ),
        (
            "prune_units(0.1, observations=16)",
            "prune_units: importance 'l1' uses no observations; drop source and observations",
        ),
        ("prune_weights(sparsity=1)", "prune_weights: sparsity is 1; it must be in [0, 1)"),
        ("quantize(weight_bits=1)", "quantize: weight_bits is 1; it must be from 2 to 8"),
        ("quantize(weight_bits=8.0)", "quantize: weight_bits is 8.0; it must be an integer"),
        ("quantize(activation_bits=16)", "quantize: activation_bits is 16; it must be from 2 to 8"),
        (
            "quantize(scheme='weight_only', activation_bits=4)",
            "quantize: scheme weight_only leaves the inputs real; drop activation_bits",
        ),
        (
            "quantize(input='per_dimension')",
            "quantize: input 'per_dimension' needs scheme static; the scheme is dynamic",
        ),
        (
            "quantize(calibration='percentile')",
            "quantize: calibration percentile needs scheme static; the scheme is dynamic",
        ),
        (
            "quantize(draw=1)",
            "quantize: scheme dynamic uses no calibration observations; drop source, observations and draw",
        ),
        ("quantize(scheme='static', observations=0)", "quantize: observations is 0; it must be from 1 to 1000000"),
        ("half() | " * 40 + "half()", "recipe: 41 steps; at most 32 are allowed"),
        ("half(" + "(" * 1000, "recipe: not understood at"),
        ("half(-" + "-" * 3000 + "1)", "recipe: "),
        ("half()|" * 600, "recipe: the text has 4200 characters; at most 4096 are read"),
    ],
)
def test_what_is_no_recipe_ends_in_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(LilliputError, match=re.escape(message)) as caught:
        parse(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


WORDS = st.sampled_from(
    [*STEPS, "(", ")", "|", "=", ",", "ratio", "0.5", "'l1'", "weight_bits", "8", "\x00", "\\", "*", "é"]
)


@settings(max_examples=500)
@given(st.text(max_size=60) | st.lists(WORDS, max_size=20).map(" ".join) | st.lists(WORDS, max_size=20).map("".join))
@example("half(" + "9" * 4090)
@example("half(x=" + "9" * 4000 + ")")
@example("|".join(["a"] * 2000))
@example("prune_units(" + "9" * 400 + ")")
@example("\ud800")
def test_any_text_is_a_recipe_or_a_clear_error(text: str) -> None:
    try:
        recipe = parse(text)
    except LilliputError as error:
        recipe, message = None, str(error)
    else:
        message = ""
    assert "\n" not in message
    if recipe is not None:
        assert parse(format_recipe(recipe)) == recipe
