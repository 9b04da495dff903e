"""What every test of this repository needs before the package is imported, wherever its file lies."""

import gc
import importlib.util
from collections.abc import Generator

import pytest
import tests.checked  # noqa: F401 (pyproject names it to check what annotations say)

# What is not collected for doctests: what stands on torch, where torch is not installed.
collect_ignore_glob = ["tests/fixtures/load/training/*", "tests/models/fixtures/*"]
if importlib.util.find_spec("torch") is None or importlib.util.find_spec("stable_baselines3") is None:
    collect_ignore_glob += ["src/lilliput/policies/learn/rl/*", "src/lilliput/policies/students/image_student.py"]
    collect_ignore_glob.append("src/lilliput/policies/students/torch_layer.py")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Modules and tests stay to the end: there is no garbage before they are all there, and none among them later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
