import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilliput.errors import LilliputError
from lilliput.policies.compress import format_recipe, parse
from lilliput.recipe import expand


def test_ranges_and_lists_multiply_and_tuples_stay():
    texts = expand('prune_units(ratio=0.05..0.15 step 0.05, importance=["l1", "l2"]) | distill(hidden=(8, 4))')
    assert texts == tuple(
        f'prune_units(ratio={ratio}, importance="{norm}") | distill(hidden=(8, 4))'
        for ratio, norm in itertools.product(("0.05", "0.10", "0.15"), ("l1", "l2"))
    )
    assert [format_recipe(parse(text)) for text in texts][1].startswith('prune_units(ratio=0.05, importance="l2")')


def test_whole_steps_and_nested_lists_are_choices():
    assert expand("[half(), quantize(weight_bits=[2, 4..6 step 2])]") == (
        "half()",
        "quantize(weight_bits=2)",
        "quantize(weight_bits=4)",
        "quantize(weight_bits=6)",
    )
    assert expand("distill(hidden=[(8, 8), (4,)])") == ("distill(hidden=(8, 8))", "distill(hidden=(4,))")


def test_a_string_is_never_taken_for_a_choice():
    text = 'distill(loss="[1..3]")'
    assert expand(text) == (text,)


@given(st.integers(0, 50), st.integers(1, 60), st.integers(1, 9))
def test_a_range_is_numpys_without_its_rounding(start, n, step):
    last = start + (n - 1) * step
    found = expand(f"f(x={start / 100:.2f}..{last / 100:.2f} step {step / 100:.2f})")
    wanted = np.arange(start, last + 1, step) / 100
    assert [float(text[4:-1]) for text in found] == wanted.tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("f(x=0.1..0.5)", r"the range 0.1..0.5 has no step; write 0.1..0.5 step 0.1"),
        ("f(x=5..1 step 1)", "is empty"),
        ("f(x=1..5 step 0)", "is empty"),
        ("f(x=[1, 2)", r"'\[' without its"),
        ("f(x=1])", r"'\]' without its"),
        ("f(x=[])", "without choices"),
        ("f(x=[1,,2])", "without choices"),
        ("f(x=1..20000)", "at most 10,000"),
        ("f(x=1..200, y=1..200)", "more than 10,000 recipes"),
    ],
)
def test_what_is_no_choice_is_refused(text, message):
    with pytest.raises(LilliputError, match=message):
        expand(text)
