"""Whose code pays the rewards: the packages that an environment's returns depend on, with their versions."""

import ast
import functools
import hashlib
import re
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from lilliput.syntax import parse

if TYPE_CHECKING:
    import gymnasium

_MODULE = re.compile(r'^"?(\w+)(?:/.*|\.[\w-]+)?\.(?:py|so|pyd)\b', re.MULTILINE)
"""In a list of installed files."""
_NO_PHYSICS = frozenset(
    {"numpy", "typing-extensions", "cloudpickle", "packaging", "imageio", "matplotlib", "pygame", "pygame-ce"}
)
"""Declared and imported by environments everywhere, and no part of what they pay."""


def packages(environment: "gymnasium.Env") -> tuple[tuple[str, str], ...]:
    """Name and version of each distribution that the environment is of, and of those that it declares and imports.

    The classes of the environment and of all its wrappers count, with their bases; of each the modules of its own
    package that it imports, and what these import of the packages that its distribution requires: the physics. A module
    that no distribution has installed is named by the sha256 of its files, beside all that they import.
    """
    return packages_of({kind.__module__ for layer in _layers(environment) for kind in type(layer).__mro__})


def packages_of(modules: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """The same of what these modules define; of one that is not loaded only its own distribution is known."""
    found: dict[str, str] = {}
    for module in sorted(modules):
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names or top == "lilliput":
            continue
        own, foreign = _imports(module)
        names = _distributions(top)
        if not names:
            found[f"module.{module}"] = _digest(own)
        needed = frozenset[str]().union(*map(_required, names))
        used = {other for one in foreign for other in _distributions(one)} - _NO_PHYSICS
        for name in (*names, *(used & needed if names else used)):
            found[f"package.{name}"] = _version(name)
    return tuple(sorted(found.items()))


def _layers(environment: "gymnasium.Env") -> list[object]:
    """The environment, what it wraps, and so on to the innermost."""
    found: list[object] = [environment]
    while (inner := getattr(found[-1], "env", None)) is not None:
        found.append(inner)
    return found


@functools.cache
def _distributions(top: str) -> tuple[str, ...]:
    """Canonical names of the distributions that install a top-level module."""
    return tuple(sorted({_canonical(one.metadata["Name"]) for one in installed().get(top, ())}))


@functools.cache
def installed() -> dict[str, list[metadata.Distribution]]:
    """The distributions that install each top-level module.

    As `metadata.packages_distributions`, which makes a path of each line of each distribution's list of files.
    """
    found: dict[str, list[metadata.Distribution]] = {}
    for one in metadata.distributions():
        files = one.read_text("RECORD") or "\n".join(map(str, one.files or ()))
        for top in set((one.read_text("top_level.txt") or "").split() or _MODULE.findall(files)):
            found.setdefault(top, []).append(one)
    return found


@functools.cache
def _version(name: str) -> str:
    return metadata.version(name)


@functools.cache
def _required(name: str) -> frozenset[str]:
    """What a distribution declares that it needs, extras included."""
    texts = metadata.requires(name) or ()
    return frozenset(_canonical(match[0]) for text in texts if (match := re.match(r"[\w.-]+", text)))


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@functools.cache
def _imports(module: str) -> tuple[tuple[str, ...], frozenset[str]]:
    """The module with those of its own package that it imports, on and on; and the top-level modules of others.

    Read off the text, so that it does not depend on what else this process has imported. The package itself is not gone
    into: it imports everything.
    """
    top = module.partition(".")[0]
    waiting, own, foreign = [module], set[str](), set[str]()
    while waiting:
        name = waiting.pop()
        if name in own or (name == top != module):
            continue
        own.add(name)
        for used in _named(name):
            if used.partition(".")[0] == top:
                waiting.append(used)
            else:
                foreign.add(used.partition(".")[0])
    return tuple(sorted(own)), frozenset(foreign)


def _named(module: str) -> set[str]:
    """The modules that the text of a loaded module imports when it is loaded; none where it has no text."""
    path = getattr(sys.modules.get(module), "__file__", None)
    if path is None or not path.endswith(".py"):
        return set()
    try:
        tree = parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return set()
    package = module if Path(path).name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in _at_load(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            # `from a import b` may name a module a.b.
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names if f"{base}.{alias.name}" in sys.modules)}
    return found


_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
"""Where statements hold others."""


def _at_load(tree: ast.Module) -> list[ast.AST]:
    """Every statement that is not in the body of a function."""
    found: list[ast.AST] = []
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        found.append(node)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += [inner for block in _BLOCKS for inner in getattr(node, block, ())]
    return found


def _digest(modules: Iterable[str]) -> str:
    """sha256 over the files of loaded modules."""
    sha = hashlib.sha256()
    for module in modules:
        path = getattr(sys.modules.get(module), "__file__", None)
        if path and Path(path).is_file():
            sha.update(Path(path).read_bytes())
    return sha.hexdigest()[:16]
