"""What a TorchScript program makes of an observation: its statements followed one by one, by a closed set."""

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.load import torchscript_memory, torchscript_operator
from lilliput.policies.load.flow import Choices, Flow
from lilliput.policies.load.torchscript_code import Code
from lilliput.policies.load.torchscript_place import Places, WritesInPlace
from lilliput.policies.load.work_limit import Work

MAX_CALLS = 5_000
MAX_NODES = 200_000
MAX_DEPTH = 24


@final
@dataclass(frozen=True, eq=False)
class ScriptObject:
    """An object of the program: where its class stands, its name, and its attributes."""

    where: str
    kind: str
    parts: Mapping[str, Any]


@final
@dataclass(frozen=True)
class _Name:
    """A dotted name that is no value: a function of torch or of the program."""

    path: str


@final
@dataclass(frozen=True, eq=False)
class Outcome:
    """What `forward` gives, or why it cannot be followed; and how far it was."""

    value: Any
    refusal: LilliputError | None
    steps: int


def followed(code: Code, module: ScriptObject, x: Flow, *, whole: bool) -> Outcome:
    """What the module's `forward` gives for the observation.

    Args:
        code: the program.
        module: its first object.
        x: the observation.
        whole: the observation's size is a guess, so that no part may be cut off it.
    """
    run = _Run(code, x if whole else None)
    try:
        returned = run.call(module, "forward", [x], {})
        run.count(returned)
        value = run.places.now(returned)
        run.check_kept()
        torchscript_memory.check(run.cells, run.read)
        return Outcome(value, None, run.nodes)
    except LilliputError as error:
        return Outcome(None, error, run.nodes)


_FREE: Final = {"inf": float("inf"), "nan": float("nan"), "None": None}


@final
@dataclass(eq=False)
class _Run:
    """A budget of steps, which values share memory, the arrays that were read, and copies with what they are of.

    Attributes:
        names: by an array's id, the attributes (a module's id and a name) that it was read by.
        kept: what attributes were set to, by the same.
    """

    code: Code
    observation: Flow | None
    nodes: int = 0
    calls: int = 0
    depth: int = 0
    places: Places = field(default_factory=Places)
    cells: list[torchscript_memory.RecurrentCall] = field(default_factory=list)
    read: list[np.ndarray] = field(default_factory=list)
    copies: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    names: dict[int, set[tuple[int, str]]] = field(default_factory=dict)
    kept: dict[tuple[int, str], Any] = field(default_factory=dict)
    work: Work = field(default_factory=Work)

    def check_kept(self) -> None:
        """Refuse a program that goes on to write to what an attribute was set to: the attribute is that very value.

        Raises:
            WritesInPlace: it does.
        """
        if any(self.places.now(one) is not one for one in self.kept.values()):
            raise WritesInPlace("a new state is changed in place after it was kept; supported: kept as it is")

    def count(self, value: Any) -> None:
        """Count what lists hold, each thing as often as it is met: one that holds itself twice has no end.

        Raises:
            LilliputError: more than a policy's program has.
        """
        todo = [value]
        while todo:
            one = todo.pop()
            if isinstance(one, tuple | list):
                self.nodes += len(one)
                if self.nodes > MAX_NODES:
                    raise LilliputError("its lists hold more than any policy's")
                todo += one

    def call(self, module: ScriptObject, method: str, arguments: list[Any], named: Mapping[str, Any]) -> Any:
        return self.function(self.code.method(module.where, module.kind, method), [module, *arguments], named)

    def function(self, node: ast.FunctionDef, arguments: list[Any], named: Mapping[str, Any]) -> Any:
        self.calls += 1
        if self.calls > MAX_CALLS or self.depth > MAX_DEPTH:
            raise LilliputError("its functions call each other more often than any policy's")
        parameters = [argument.arg for argument in node.args.args]
        defaults = dict(zip(parameters[::-1], node.args.defaults[::-1], strict=False))
        if len(arguments) > len(parameters) or node.args.vararg or node.args.kwarg or node.args.kwonlyargs:
            raise LilliputError(f"{node.name[:60]} takes other arguments than it gets")
        variables = dict(zip(parameters, arguments, strict=False)) | dict(named)
        for name in parameters:
            if name not in variables:
                if name not in defaults:
                    raise LilliputError(f"{node.name[:60]} takes {name[:40]!r}, which it does not get")
                variables[name] = self.value(defaults[name], {})
        self.depth += 1
        returned, value = self.body(node.body, variables)
        self.depth -= 1
        if not returned:
            raise LilliputError(f"{node.name[:60]} returns nothing")
        return value

    def body(self, statements: list[ast.stmt], variables: dict[str, Any]) -> tuple[bool, Any]:
        """Whether it returned, and what."""
        for statement in statements:
            match statement:
                case ast.Return(value=None):
                    return True, None
                case ast.Return(value=ast.expr() as value):
                    return True, self.value(value, variables)
                case ast.Assign(targets=[target], value=value):
                    self.assign(target, self.value(value, variables), variables)
                case ast.AnnAssign(target=target, value=ast.expr() as value):
                    self.assign(target, self.value(value, variables), variables)
                case ast.If(test=test):
                    condition = self.value(test, variables)
                    if not isinstance(condition, bool):
                        raise LilliputError("what is computed depends on the observation by an if; supported: one way")
                    returned, value = self.body(statement.body if condition else statement.orelse, variables)
                    if returned:
                        return True, value
                case ast.Pass():
                    pass
                case ast.Expr(value=ast.Call() as value):
                    self.value(value, variables)
                case _:
                    raise LilliputError(f"its source has the statement {type(statement).__name__}; supported: no loops")
        return False, None

    def assign(self, target: ast.expr, value: Any, variables: dict[str, Any]) -> None:
        match target:
            case ast.Name(id=name):
                variables[name] = value
            case ast.Tuple(elts=elements) if isinstance(value, tuple | list) and len(value) == len(elements):
                for element, part in zip(elements, value, strict=True):
                    self.assign(element, part, variables)
            case ast.Attribute(value=inner, attr=name) if self.keeps(self.value(inner, variables), name, value):
                pass
            case _:
                raise WritesInPlace("its source assigns to other things than names (a memory?)")

    def keeps(self, owner: Any, name: str, value: Any) -> bool:
        """Whether an attribute that a state was read by, and no other was, now is the new state."""
        value = self.places.now(value)
        new = torchscript_memory.new_state(value, self.cells)
        if new is None or not isinstance(owner, ScriptObject):
            return False
        buffer = owner.parts.get(name)
        if self.names.get(id(buffer)) != {(id(owner), name)}:
            return False
        torchscript_memory.write(buffer, new)
        self.kept[id(owner), name] = value
        return True

    def value(self, node: ast.expr, variables: Mapping[str, Any]) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise LilliputError("its source is longer than any policy's")
        match node:
            case ast.Constant(value=value) if isinstance(value, bool | int | float | str | None):
                return value
            case ast.Name(id=name):
                if name in variables:
                    return variables[name]
                return _FREE[name] if name in _FREE else _Name(name)
            case ast.Attribute(value=inner, attr=name):
                return self.attribute(self.value(inner, variables), name)
            case ast.Tuple(elts=elements):
                return tuple(self.value(element, variables) for element in elements)
            case ast.List(elts=elements):
                return [self.value(element, variables) for element in elements]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                value = self.value(operand, variables)
                if isinstance(value, int | float):
                    return -value
            case ast.Subscript(value=inner, slice=index):
                sequence, at = self.value(inner, variables), self.value(index, variables)
                if isinstance(sequence, tuple | list) and isinstance(at, int) and -len(sequence) <= at < len(sequence):
                    return sequence[at]
            case ast.Call(func=callee, args=arguments, keywords=keywords):
                return self.called(callee, arguments, keywords, variables)
        raise LilliputError(f"its source has the expression {ast.unparse(node)[:60]!r}; supported: calls of operators")

    def attribute(self, owner: Any, name: str) -> Any:
        match owner:
            case ScriptObject(parts=parts) if name in parts:
                self.names.setdefault(id(parts[name]), set()).add((id(owner), name))
                return self.kept.get((id(owner), name), parts[name])
            case _Name(path="CONSTANTS") if name[:1] == "c" and name[1:].isascii() and name[1:].isdigit():
                index = int(name[1:])
                if index < len(self.code.constants):
                    return self.code.constants[index]
            case _Name(path=path):
                return _Name(f"{path}.{name}")
        raise LilliputError(f"its source takes {name[:60]!r} of what has none")

    def called(
        self, callee: ast.expr, arguments: list[ast.expr], keywords: list[ast.keyword], variables: Mapping[str, Any]
    ) -> Any:
        if isinstance(callee, ast.Name) and callee.id == "uninitialized":
            return None  # stands where a branch is not taken
        if isinstance(callee, ast.Name) and callee.id in ("annotate", "unchecked_cast") and len(arguments) == 2:
            return self.value(arguments[1], variables)
        given = [self.value(argument, variables) for argument in arguments]
        named = {keyword.arg: self.value(keyword.value, variables) for keyword in keywords if keyword.arg}
        if len(named) < len(keywords):
            raise LilliputError("its source unpacks arguments")
        if isinstance(callee, ast.Attribute):
            owner = self.value(callee.value, variables)
            if isinstance(owner, ScriptObject):
                return self.call(owner, callee.attr, given, named)
        function = self.value(callee, variables)
        match function:
            case _Name(path="getattr") if len(given) == 2 and isinstance(given[0], ScriptObject):
                return self.attribute(given[0], str(given[1]))
            case _Name(path=path) if path.startswith("__torch__."):
                return self.function(self.code.function(path), given, named)
            case _Name(path=path):
                return self.operator(path, given, named)
        raise LilliputError("its source calls what is no function")

    def operator(self, path: str, given: list[Any], named: Mapping[str, Any]) -> Any:
        self.count([given, *named.values()])
        given, named = self.places.now(given), {key: self.places.now(one) for key, one in named.items()}
        flows = [one for one in _flat(given) if isinstance(one, Flow)]
        name = path.removeprefix("torch.").removeprefix("ops.prim.").removeprefix("ops.aten.")
        whole = None if self.observation is None else self.observation.link
        if name in torchscript_operator.CUTTING and any(one.link is whole for one in flows):
            raise LilliputError(
                "a part is taken of the observation, whose size is not in the file: name the environment (--env)"
            )
        if name == "zeros":
            raise LilliputError(
                "its source has the operator 'zeros' of constants (of an LSTM or GRU that keeps no state, whose "
                "forward starts anew at each step?)"
            )
        if name == "slice" and _is_whole(given):
            return given[0]  # the buffer itself, so that what is written there is known
        new = torchscript_memory.new_state(given[1], self.cells) if name == "copy_" and len(given) > 1 else None
        if new is not None and isinstance(given[0], np.ndarray):
            torchscript_memory.write(given[0], new)
            return given[0]
        if any(isinstance(one, torchscript_memory.Next) for one in _flat([*given, *named.values()])):
            raise WritesInPlace(
                f"the new state of its LSTM or GRU is used otherwise ({name[:40]}); supported: kept as it is"
            )
        if name not in torchscript_memory.READING_NOTHING:
            states = given[1:2] if name in torchscript_memory.OPERATORS else []
            apart = [one for one in given if not any(one is state for state in states)]
            used = _flat(_originals([*apart, *named.values()], self.copies))
            self.read += [one for one in used if isinstance(one, np.ndarray)]
        written = [cell.before[place] for cell in self.cells for place in cell.written]
        if any(one is buffer for one in _flat(given) for buffer in written):
            raise WritesInPlace("a state is read again after it was written; supported: read, then written")
        if name in torchscript_memory.OPERATORS:
            cell, result = torchscript_memory.recurrent(name, _originals(given, self.copies))
            self.cells.append(cell)
            return result
        target = given[0] if given else None
        if name == "copy_" and isinstance(target, Flow):
            raise WritesInPlace("it assigns to a part of a value (y[...] = ...); supported: whole new values")
        overwrites = name.endswith("_") and not name.endswith("__")
        if overwrites and not isinstance(target, Flow | Choices):
            raise WritesInPlace(f"it writes to its own buffers ({name[:40]}: a memory?)")
        result = torchscript_operator.apply(name, given, named)
        self.work.spend(sum(math.prod(one.shape) for one in _flat([result]) if hasattr(one, "shape")))
        if name in ("clone", "contiguous") and isinstance(target, np.ndarray):
            self.copies.append((result, _originals(target, self.copies)))
        if not overwrites:
            return self.places.made(name, [*given, *named.values()], result)
        if not isinstance(target, Flow | Choices) or not isinstance(result, Flow | Choices):
            raise WritesInPlace(f"the operator {name[:40]!r} writes several values in place")
        return self.places.overwrite(target, result)


def _originals(states: Any, copies: list[tuple[np.ndarray, np.ndarray]]) -> Any:
    """The buffers behind copies: to read those is to read these."""
    if isinstance(states, tuple | list):
        return type(states)(_originals(one, copies) for one in states)
    return next((original for copy, original in copies if copy is states), states)


def _is_whole(given: list[Any]) -> bool:
    """Whether a slice takes all of a buffer."""
    if not given or not isinstance(given[0], np.ndarray) or not given[0].ndim:
        return False
    dim, start, end, step = (*given[1:], *(0, None, None, 1)[len(given) - 1 :])
    if not isinstance(dim, int) or not -given[0].ndim <= dim < given[0].ndim:
        return False
    n = given[0].shape[dim]
    return range(n)[start:end:step] == range(n)


def _flat(values: list[Any]) -> list[Any]:
    return [inner for one in values for inner in (_flat(list(one)) if isinstance(one, tuple | list) else [one])]
