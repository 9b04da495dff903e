"""All that a training needs to go on as if it had never stopped, in one file that is there whole or not at all."""

import io
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from lilliput.errors import LilliputError
from lilliput.files import write_whole

FORMAT: Final = 1
NAME: Final = "state.pt"

_COUNTERS: Final = ("num_timesteps", "_n_updates", "_n_calls", "_episode_num", "exploration_rate")
"""Numbers of the frameworks' models; each model has some of them."""


def save(folder: Path, model: Any, extra: dict[str, Any]) -> None:
    """Writes the model, its optimizers, its statistics and where its replay buffer stands."""
    names, variables = model._get_torch_save_params()
    state: dict[str, Any] = {
        "format": FORMAT,
        "modules": {name: _at(model, name).state_dict() for name in names},
        "variables": {name: _at(model, name).detach().clone() for name in variables},
        "counters": {name: getattr(model, name) for name in _COUNTERS if hasattr(model, name)},
        "normalizer": _normalizer(model),
        "extra": extra,
    }
    if (buffer := getattr(model, "replay_buffer", None)) is not None:
        buffer.flush()
        state["position"] = buffer.pos
    data = io.BytesIO()
    torch.save(state, data)
    write_whole(folder / NAME, data.getvalue())


def restore(folder: Path, model: Any) -> dict[str, Any] | None:
    """The `extra` that was saved, the model being as it was then; None where nothing was saved yet.

    Raises:
        LilliputError: the file is damaged or of another version.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        state = torch.load(path, weights_only=True)
        if state["format"] != FORMAT:
            raise LilliputError(
                f"{path} is of format {state['format']}; this version reads {FORMAT}: begin anew (--force)"
            )
        for name, part in state["modules"].items():
            _at(model, name).load_state_dict(part)
        for name, value in state["variables"].items():
            with torch.no_grad():
                _at(model, name).copy_(value)
        for name, value in state["counters"].items():
            setattr(model, name, value)
        _set_normalizer(model, state["normalizer"])
        if "position" in state:
            model.replay_buffer.pos = state["position"]
        return state["extra"]
    except (RuntimeError, KeyError, ValueError, EOFError, AttributeError, TypeError, OSError) as error:
        raise LilliputError(f"{path} is damaged: {' '.join(str(error).split())[:120]}; begin anew (--force)") from error


def _at(model: Any, path: str) -> Any:
    for name in path.split("."):
        model = getattr(model, name)
    return model


def _normalizer(model: Any) -> dict[str, Any] | None:
    normalize = model.get_vec_normalize_env()
    if normalize is None:
        return None
    return {
        name: [torch.from_numpy(np.asarray(value, np.float64).copy()) for value in (rms.mean, rms.var, rms.count)]
        for name, rms in (("obs_rms", normalize.obs_rms), ("ret_rms", normalize.ret_rms))
    }


def _set_normalizer(model: Any, saved: dict[str, Any] | None) -> None:
    normalize = model.get_vec_normalize_env()
    if (normalize is None) != (saved is None):
        raise ValueError("a normalizer is there or was saved, and the other is not")
    if normalize is not None and saved is not None:
        for name, (mean, var, count) in saved.items():
            rms = getattr(normalize, name)
            rms.mean, rms.var, rms.count = mean.numpy().copy(), var.numpy().copy(), float(count)
