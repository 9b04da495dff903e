"""Text of Python is read by several threads at once: `shrink` plays in one while it exports in another."""

import ast
import gc
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lilliput import syntax


@pytest.fixture
def collected_often() -> Iterator[None]:
    """Other threads go on where garbage is collected, which is in the midst of a tree here."""

    def wait(phase: str, info: dict[str, int]) -> None:
        time.sleep(1e-4)

    threshold = gc.get_threshold()
    gc.callbacks.append(wait)
    gc.set_threshold(500)
    yield
    gc.set_threshold(*threshold)
    gc.callbacks.remove(wait)


@pytest.mark.usefixtures("collected_often")
def test_threads_do_not_disturb_each_other():
    source = Path(ast.__file__).read_bytes()
    with ThreadPoolExecutor(4) as threads:
        trees = list(threads.map(syntax.parse, [source] * 4))
    assert {ast.dump(tree) for tree in trees} == {ast.dump(ast.parse(source))}


def test_an_expression_is_what_python_reads():
    assert ast.dump(syntax.parse_expression("f(x=1) | g")) == ast.dump(ast.parse("f(x=1) | g", mode="eval").body)
    with pytest.raises(SyntaxError):
        syntax.parse_expression("f(")
