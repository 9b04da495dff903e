"""What every test of this repository needs before the package is imported, wherever its file lies."""

import gc
import importlib.util

import pytest
import tests.checked  # noqa: F401 (pyproject names it to check what annotations say)

# What is not collected for doctests: what stands on torch, where torch is not installed.
collect_ignore_glob = ["tests/fixtures/load/training/*", "tests/models/fixtures/*"]
if importlib.util.find_spec("torch") is None or importlib.util.find_spec("stable_baselines3") is None:
    collect_ignore_glob.append("src/lilliput/policies/learn/rl/*")


def pytest_collection() -> None:
    """Modules and tests stay to the end: until they are all there, looking for garbage finds nothing."""
    gc.disable()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """From here on there is garbage, but not among what was collected."""
    gc.freeze()
    gc.enable()
