"""TorchScript programs (`torch.jit.save`) of MLP and CNN policies: followed from the observation, never executed.

The archive holds a tree of modules as a pickle, their tensors, and the source of their `forward` in a subset of
Python's syntax. The source is parsed as Python is and followed by a closed set of statements and operators; whatever
else stands there refuses the file. There is no torch here to compare with: what is read is what the program says.
"""

import ast
import math
from pathlib import PurePosixPath
from typing import Any, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, spaces
from lilliput.policies.load import flow, flow_choice, flow_layers, plain
from lilliput.policies.load.archive import Archive
from lilliput.policies.load.flow import Choices, Flow
from lilliput.policies.load.inert_pickle import MAX_PICKLE_BYTES, Global, InertCall, read_pickle, state_of, string_keys
from lilliput.policies.load.source import Source
from lilliput.policies.load.torch_file import Tree, zip_fetch
from lilliput.policies.load.torchscript_code import Code
from lilliput.policies.load.torchscript_place import WritesInPlace
from lilliput.policies.load.torchscript_run import ScriptObject, followed
from lilliput.policies.load.torchscript_shape import Batched
from lilliput.policies.play.wrappers import TransposeImage, format_wrapper
from lilliput.policies.policy import Policy, Provenance

FRAMEWORK = "torchscript"
MAX_MODULES = 2_000
MAX_DEPTH = 32
WAY_OUT = (
    "torch.onnx.export(torch.jit.load(file), (torch.zeros(1, n_observations),), 'policy.onnx', dynamo=False) makes an "
    "ONNX file of it, which may say more"
)
REWRITE = (
    "write whole new values, y = y * 2 and not y *= 2, keep what is remembered outside of the network, and save it "
    "again; what torch.onnx.export makes of this file may leave such a write out without a word"
)
NO_WAY_OUT = "an ONNX file of the same network is refused too, where its action depends on this: train one without it"
_NOT_RUN = "the program was followed and not run: nothing here compares what was read of it with what it does"
_LISTS = tuple(Global("torch.jit._pickle", name) for name in ("restore_type_tag", "build_tensorlist"))
"""What a list of a program is made by; the type behind it is its code's to know."""

_MEMORY = ("RNN", "RNNCell")
_CELLS = ("LSTMCell", "GRUCell")


@final
class _SeveralInputs(LilliputError):
    """A program that takes several values, which nothing but their names tells apart."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(f"its forward takes {len(names)} values ({', '.join(names)}); supported: one observation")
        self.names = names


def is_torchscript(archive: Archive) -> bool:
    """Whether the archive is what `torch.jit.save` writes."""
    return any(PurePosixPath(entry).name == "constants.pkl" for entry in archive.sizes) and any(
        "/code/" in entry for entry in archive.sizes
    )


def read_torchscript(source: Source, archive: Archive) -> Policy:
    """The policy that the program's `forward` computes.

    Raises:
        LilliputError: damaged, a program of other operators than those that are followed, or one with a memory.
    """
    name = archive.name
    roots = [entry.removesuffix("/constants.pkl") for entry in archive.sizes if entry.endswith("/constants.pkl")]
    if len(roots) != 1 or f"{roots[0]}/data.pkl" not in archive:
        raise LilliputError(f"{name} is no whole TorchScript archive; save or download it again")
    root = roots[0]
    module = _modules(_pickle(archive, f"{root}/data.pkl"), Tree(zip_fetch(archive, root, "data"), name), name)
    constants = Tree(zip_fetch(archive, root, "constants"), name).convert(_pickle(archive, f"{root}/constants.pkl"))
    code = Code(archive, root, tuple(constants) if isinstance(constants, list | tuple) else ())
    try:
        for one in _inside(module):
            if one.kind in _CELLS and "_cell(" not in ast.unparse(code.method(one.where, one.kind, "forward")):
                raise WritesInPlace(
                    f"its {one.kind} is spelled out in gates (traced?): torch.jit.script(module) keeps it whole"
                )
        return _policy(source, module, code, _traced_shape(archive, root))
    except (LilliputError, RecursionError) as error:
        message = str(error)
        way = _way_out(error, code)
        raise LilliputError(message if name in message else f"{name}: {message} ({way})") from None


def _way_out(error: Exception, code: Code) -> str:
    """What to do about a program that is refused."""
    if isinstance(error, flow.NoLayer):
        return NO_WAY_OUT
    if isinstance(error, WritesInPlace):
        return REWRITE
    if isinstance(error, _SeveralInputs):
        return (
            "torch.onnx.export(torch.jit.load(file), examples, 'policy.onnx', dynamo=False, "
            f"input_names={list(error.names)}), examples a tensor of each, makes an ONNX file that is read"
        )
    return f"{WAY_OUT}{'; compare it with this file, which writes in place' if code.writes() else ''}"


def _pickle(archive: Archive, entry: str) -> Any:
    return read_pickle(archive.read(entry, MAX_PICKLE_BYTES), archive.name)[0]


def _modules(value: Any, tree: Tree, name: str) -> ScriptObject:
    """The tree of modules that the pickle describes."""
    count = 0

    def read(value: Any, depth: int) -> Any:
        nonlocal count
        if isinstance(value, InertCall) and value.maker in _LISTS and isinstance(value.args, tuple) and value.args:
            items = value.args[0]
            return [read(item, depth + 1) for item in items] if isinstance(items, list) and depth < MAX_DEPTH else None
        state = state_of(value) if isinstance(value, InertCall) else None
        if state is None or not isinstance(value.maker, Global) or not value.maker.module.startswith("__torch__"):
            return tree.convert(value)
        count += 1
        if count > MAX_MODULES or depth > MAX_DEPTH:
            raise LilliputError(f"{name} has more modules than any policy")
        kind = value.maker.name
        if kind in _MEMORY:
            raise LilliputError(f"{name} has a memory ({kind}); supported: LSTM and GRU")
        parts = {key: read(item, depth + 1) for key, item in state.items()}
        if kind.startswith(("BatchNorm", "Dropout")) and parts.get("training") is True:
            raise LilliputError(f"{name}: {kind} is still training; save the module after .eval()")
        return ScriptObject(value.maker.module, kind, parts)

    found = read(value, 0)
    if not isinstance(found, ScriptObject):
        raise LilliputError(f"{name} holds no module; save a torch.jit.ScriptModule")
    return found


def _traced_shape(archive: Archive, root: str) -> tuple[int, ...] | None:
    """The shape of the input that the module was traced with; None where the file does not say."""
    entry = f"{root}/traced_inputs.pkl"
    if entry not in archive:
        return None
    value = _pickle(archive, entry)
    for _ in range(2):
        value = value.args[0] if isinstance(value, InertCall) and value.args and not string_keys(value) else value
        forward = string_keys(value)
        if forward is not None:
            value = forward.get("forward")
    while isinstance(value, InertCall) and isinstance(value.args, tuple) and value.args:
        if not isinstance(value.args[0], list):
            break
        value = value.args[0]
    if not isinstance(value, list) or len(value) != 1 or not isinstance(value[0], InertCall):
        return None
    size = value[0].args[2] if isinstance(value[0].args, tuple) and len(value[0].args) > 3 else None
    plain = isinstance(size, tuple) and all(isinstance(n, int) and 0 < n < 1 << 24 for n in size)
    return size if plain and size and math.prod(size) <= spaces.MAX_ELEMENTS else None


def _policy(source: Source, module: ScriptObject, code: Code, traced: tuple[int, ...] | None) -> Policy:
    if hooks := code.hooks(module.where, module.kind):
        raise LilliputError(f"code of its own runs around its forward (hooks {hooks[0][:60]}): take them off")
    arguments = code.method(module.where, module.kind, "forward").args
    _, *needed = (one.arg[:40] for one in arguments.args[: len(arguments.args) - len(arguments.defaults)])
    if len(needed) > 1:
        raise _SeveralInputs(tuple(needed))
    answers: list[tuple[tuple[int, ...], Any]] = []
    furthest, refused = (
        (False, -1),
        LilliputError(
            "it holds no matrix of floats, but weights that are packed or quantized: save it from before they were"
        ),
    )
    known = _given_shapes(source) if traced is None else [traced[1:], traced]
    for shape in known or [(width,) for width in _widths(module, code)]:
        # One observation, with an axis for it or, where that is refused, without; not against what the trace shows.
        for batched in (True, False) if traced is None or shape == traced else (True,):
            (x,) = flow.observation([shape], 1, batched=batched)
            outcome = followed(code, module, x, whole=not known)
            if outcome.refusal is None:
                answers.append((shape, outcome.value))
                break
            # That it writes is true of any size; otherwise the truest is what came furthest.
            reached = isinstance(outcome.refusal, WritesInPlace), outcome.steps
            if reached > furthest:
                furthest, refused = reached, outcome.refusal
            if isinstance(outcome.refusal, Batched) and shape != traced:
                break  # Torch runs it on a batch: nothing says that it takes an observation alone.
        if answers and known:
            break
    if not answers and not known and any(array.ndim == 4 for array in _arrays(module, code)):
        raise LilliputError("the size of an image is not in the file; name the environment (--env)")
    if not answers:
        raise refused
    if len(answers) > 1:
        sizes = ", ".join(str(shape[0]) for shape, _ in answers[:4])
        raise LilliputError(f"its observation's size is not in the file: {sizes} fit; name the environment (--env)")
    shape, value = answers[0]
    return _assembled(source, module, code, shape, _result(value, source))


def _given_shapes(source: Source) -> list[tuple[int, ...]]:
    shape = source.options.observation_shape()
    return [] if shape is None else [shape]


def _widths(module: ScriptObject, code: Code) -> list[int]:
    """Sizes that a vector of observations may have: the inputs of each matrix."""
    shapes = [array.shape for array in _arrays(module, code) if array.ndim == 2]
    sizes = {shape[1] for shape in shapes} | ({shape[0] for shape in shapes} if code.multiplies() else set())
    return sorted(sizes - {0})[:64]


def _arrays(module: ScriptObject, code: Code) -> list[np.ndarray]:
    """Every tensor of the program."""
    parts = [part for one in _inside(module) for part in one.parts.values()]
    return [part for part in (*code.constants, *parts) if isinstance(part, np.ndarray)]


def _inside(module: ScriptObject) -> list[ScriptObject]:
    """The module and those in it, at any depth."""
    found = [module]
    for one in found:
        found += [part for part in one.parts.values() if isinstance(part, ScriptObject)]
    return found


def _result(value: Any, source: Source) -> Flow | Choices:
    if isinstance(value, tuple | list) and len(value) > 1:
        wanted = source.output
        if wanted is None or not wanted.isascii() or not wanted.isdigit() or int(wanted) >= len(value):
            raise LilliputError(
                f"forward gives {len(value)} values: name the action's number, counted from 0 (output=, --output N)"
            )
        value = value[int(wanted)]
    if not isinstance(value, Flow | Choices):
        raise LilliputError("forward gives no tensor that depends on the observation")
    return value


def _assembled(
    source: Source, module: ScriptObject, code: Code, shape: tuple[int, ...], value: Flow | Choices
) -> Policy:
    guesses = ["the file holds no bounds of the observation: taken as unbounded", _NOT_RUN]
    sizes: tuple[int, ...] | None = None
    if isinstance(value, Choices):
        sizes, last = flow_choice.together(value)
    else:
        last = flow.settled(value)
        if source.action == "discrete":
            plain.check_row(value.shape, value.rows)
            guesses.append(plain.one_number_a_choice(math.prod(last.shape)))
            sizes, last = (math.prod(last.shape),), flow.vector(last)
    if source.action == "tanh" or (source.action == "continuous" and sizes is not None):
        raise LilliputError(f"what the program gives is {'a choice' if sizes else 'the action'}; leave action away")
    shape, stack, action_space = flow_layers.assemble(last.link, shape, sizes, guesses)
    if source.action == "continuous" and not isinstance(action_space, spaces.Box):
        raise LilliputError("it ends in probabilities of choices; leave action='continuous' away")
    if source.action == "continuous":
        guesses = [guess for guess in guesses if guess != flow_layers.KIND_UNSAID]
    if any(isinstance(layer, layers.Recurrent) and layer.initial is not None for layer in stack):
        guesses.append("the memory begins with the numbers in the file's buffers, which are not zeros, as torch does")
    arrays = _arrays(module, code)
    if any(array.dtype == np.float16 for array in arrays):
        guesses.append("it has numbers of 16 bits: computed in float32 here, where torch may round each step to 16")
    _check_range(stack, arrays)
    wrappers = (format_wrapper(TransposeImage()),) if flow_layers.TRANSPOSED in guesses else ()
    space = spaces.Box(shape, np.asarray(-np.inf), np.asarray(np.inf))
    provenance = Provenance(framework=FRAMEWORK, guesses=tuple(guesses), wrappers=wrappers)
    return Policy(space, action_space, tuple(stack), provenance)


def _check_range(stack: list[layers.Layer], arrays: list[np.ndarray]) -> None:
    """Refuse a program in float64 that tells observations apart that float32 does not."""
    first = stack[0]
    if isinstance(first, layers.Standardize) and any(array.dtype == np.float64 and array.ndim for array in arrays):
        steps = np.spacing(np.abs(first.mean)) * np.abs(first.scale)
        if (steps > 1e-4).any():
            raise LilliputError(
                f"the program takes float64, and observations in float32 have steps of {float(steps.max()):.2g} of its "
                "normalizer's units: take the offset off the observation before it reaches the policy"
            )
