"""The source in a TorchScript archive: parsed as Python's syntax, looked up by name, never executed."""

import ast
import re
from dataclasses import dataclass, field
from typing import Any, final

from lilliput.errors import LilliputError
from lilliput.policies.load.archive import Archive
from lilliput.syntax import parse

MAX_CODE_BYTES = 1 << 20
_WRITE = re.compile(rb"\.\w*[a-z0-9]_\(|^ +\(?\w+\)?\.[\w.]+ = ", re.MULTILINE)
_PRODUCT = re.compile(rb"torch\.(?:matmul|mm|addmm)\(")


@final
@dataclass(frozen=True, eq=False)
class Code:
    """The archive's source files and constants.

    Attributes:
        constants: what `CONSTANTS.c0`, `CONSTANTS.c1`, ... are.
    """

    archive: Archive
    root: str
    constants: tuple[Any, ...]
    parsed: dict[str, ast.Module] = field(default_factory=dict)

    def method(self, module: str, kind: str, name: str) -> ast.FunctionDef:
        """The method of a class.

        Raises:
            LilliputError: there is none.
        """
        return _function(self._class(module, kind).body, name, f"{kind}.{name}")

    def hooks(self, module: str, kind: str) -> list[str]:
        """The hooks that run around the class's `forward`, where nothing in the program calls them: those of the whole.

        Raises:
            LilliputError: there is no such class.
        """
        named = [node for node in self._class(module, kind).body if isinstance(node, ast.Assign)]
        return [
            ast.unparse(node.value)
            for node in named
            for target in node.targets
            if isinstance(target, ast.Name) and target.id in ("__forward_hooks__", "__forward_pre_hooks__")
        ]

    def writes(self) -> bool:
        """Whether any source calls an operator that writes in place (relu_, copy_), or assigns to an attribute.

        torch's own functions have both forms of each activation, of which one runs.
        """
        return self._has(_WRITE)

    def multiplies(self) -> bool:
        """Whether any source multiplies by a matrix as it stands, (inputs, outputs), and not as a Linear does."""
        return self._has(_PRODUCT)

    def _has(self, pattern: re.Pattern[bytes]) -> bool:
        start, own = f"{self.root}/code/", f"{self.root}/code/__torch__/torch/nn/functional.py"
        sources = [entry for entry in self.archive.sizes if entry.startswith(start) and entry.endswith(".py")]
        return any(pattern.search(self.archive.read(entry, MAX_CODE_BYTES)) for entry in sources if entry != own)

    def _class(self, module: str, kind: str) -> ast.ClassDef:
        for node in self._file(module).body:
            if isinstance(node, ast.ClassDef) and node.name == kind:
                return node
        raise LilliputError(f"there is no source of the class {kind[:60]}; save it again")

    def function(self, path: str) -> ast.FunctionDef:
        """The function of that full name, such as __torch__.torch.nn.functional.relu.

        Raises:
            LilliputError: there is none.
        """
        module, _, name = path.rpartition(".")
        return _function(self._file(module).body, name, path)

    def _file(self, module: str) -> ast.Module:
        if module not in self.parsed:
            entry = f"{self.root}/code/{module.replace('.', '/')}.py"
            if entry not in self.archive:
                raise LilliputError(f"there is no source {module[:80]!r} in the archive; save it again")
            try:
                self.parsed[module] = parse(self.archive.read(entry, MAX_CODE_BYTES))
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                raise LilliputError(f"the source {module[:80]!r} cannot be parsed; save it again") from error
            for node in ast.walk(self.parsed[module]):
                if isinstance(node, ast.Constant) and isinstance(node.value, int) and node.value.bit_length() > 64:
                    raise LilliputError("its source has an integer of more than 64 bits, which torch does not have")
        return self.parsed[module]


def _function(body: list[ast.stmt], name: str, shown: str) -> ast.FunctionDef:
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    raise LilliputError(f"there is no source of {shown[:80]!r} in the archive; save it again")
