"""The installed packages that an environment's rewards depend on, with their versions."""

import functools
import re
from collections.abc import Mapping
from importlib import metadata
from typing import Any

_PHYSICS = {
    "gymnasium.envs.mujoco": "mujoco",
    "gymnasium.envs.box2d": "box2d",
    "ale_py": "ale-py",
}
"""What Gymnasium's own environments need and its package declares as an extra alone."""

_NO_PHYSICS = {
    "imageio", "jinja2", "lilliput", "matplotlib", "opencv-python", "packaging", "pettingzoo", "pillow", "pygame",
    "setuptools", "tqdm",
}  # fmt: skip
"""What environments often declare and no reward depends on."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def packages_of(environment: Any) -> dict[str, str]:
    """Version by package: Gymnasium, what the environment's classes come from, and what those packages declare to need.

    Args:
        environment: made by Gymnasium; or the class, the function or the "module:name" that makes one.
    """
    modules = _modules(environment)
    named = {_PHYSICS[prefix] for prefix in _PHYSICS for module in modules if module.startswith(prefix)}
    own = {name for module in modules for name in _distributions().get(module.split(".")[0], ())}
    declared = {name for one in own for name in _declared(one)} - set(_declared("gymnasium"))
    every = sorted(({"gymnasium"} | named | own | declared) - _NO_PHYSICS)
    return {name: version for name in every if (version := _version(name))}


def described(packages: Mapping[str, str]) -> str:
    """Names and versions in words.

    >>> described({"gymnasium": "1.2.0", "mujoco": "3.3.0"})
    'gymnasium 1.2.0, mujoco 3.3.0'
    """
    return ", ".join(f"{name} {version}" for name, version in packages.items())


def _modules(environment: Any) -> list[str]:
    """Where the environment and its wrappers are defined."""
    if isinstance(environment, str):
        return [environment.partition(":")[0]]
    found = []
    while environment is not None:
        is_maker = isinstance(environment, type) or not hasattr(environment, "step")
        found.append(getattr(environment if is_maker else type(environment), "__module__", None) or "")
        environment = None if is_maker else getattr(environment, "env", None)
    return found


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return {module: [_normal(name) for name in names] for module, names in metadata.packages_distributions().items()}


@functools.cache
def _declared(distribution: str) -> tuple[str, ...]:
    """What a distribution always needs; what is not installed has no version and drops out later."""
    try:
        requirements = metadata.requires(distribution) or ()
    except metadata.PackageNotFoundError:
        return ()
    parts = (text.partition(";") for text in requirements)
    names = (_NAME.match(requirement.strip()) for requirement, _, marker in parts if "extra" not in marker)
    return tuple(_normal(name[0]) for name in names if name is not None)


@functools.cache
def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
