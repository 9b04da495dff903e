"""What all tests share: where policies are, and settings that make runs repeatable."""

import os
import signal
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs behind it deaf to Ctrl-C, and children would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).parent.parent

# A busy machine is not a failing test: no deadline. The same examples every time unless one asks for others.
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update` writes what is generated and committed again."""
    parser.addoption("--update", action="store_true", help="write tests/policies/export/generated again")


FRAMEWORKS = {"torch", "stable_baselines3", "sb3_contrib", "transformers"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What says `importorskip` of a framework, itself or at the head of its module, is marked by it.

    What takes longest comes first: begun last, one process would be at work on it and the others done.
    """
    for item in items:
        if isinstance(item, pytest.Function) and _needs_framework(item):
            item.add_marker(pytest.mark.frameworks)
    items.sort(key=lambda item: item.get_closest_marker("longest") is None)


def _needs_framework(item: pytest.Function) -> bool:
    if FRAMEWORKS & vars(item.module).keys():
        return True
    inner = getattr(item.function, "hypothesis", None)
    code = (inner.inner_test if inner else item.function).__code__
    named = {str(constant).split(".")[0] for constant in code.co_consts}
    return "importorskip" in code.co_names and bool(FRAMEWORKS & named)


@pytest.fixture(scope="session")
def example_policies() -> Path:
    """The folder of the policies that the project trained itself."""
    return REPOSITORY / "examples" / "policies"


@pytest.fixture(scope="session")
def public_policies() -> Path:
    """The folder of the public rl-zoo policies; the test is skipped where it is not to be had."""
    folder = os.environ.get("LILLIPUT_POLICIES")
    if not folder:
        pytest.skip("LILLIPUT_POLICIES is not set: the public policies are not here")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"LILLIPUT_POLICIES is {folder!r}, which is not a folder")
    return path
