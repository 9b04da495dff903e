"""What every test of this repository needs before the package is imported, wherever its file lies."""

import gc
import importlib.util
import re
from collections.abc import Generator
from pathlib import Path

import pytest
import tests.checked

_HERE = Path(__file__).parent

# What is not collected for doctests: where torch is not installed, what imports it, and the package of trainings.
collect_ignore_glob = ["tests/fixtures/load/training/*", "tests/models/fixtures/*"]
if importlib.util.find_spec("torch") is None or importlib.util.find_spec("stable_baselines3") is None:
    _imports = re.compile(r"^(import|from) torch\b", re.MULTILINE)
    _modules = (path for path in (_HERE / "src").rglob("*.py") if _imports.search(path.read_text(encoding="utf-8")))
    collect_ignore_glob += ["src/lilliput/policies/learn/rl/*", *(str(path.relative_to(_HERE)) for path in _modules)]


def pytest_runtest_setup() -> None:
    """What annotations say is looked at anew in each test."""
    tests.checked.another_test()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Modules and tests stay to the end: there is no garbage before they are all there, and none among them later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
