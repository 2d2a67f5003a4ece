"""Finding the model that a command names, and giving it its weights."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from relprop.cli.zoo import BUILT_IN
from relprop.errors import RelpropError
from relprop.graph.capture import silent

Model = nn.Module | ExportedProgram
T = TypeVar("T")
SHOWN = 3
"""How many names of a long list a sentence quotes."""


class ModelError(RelpropError, ValueError):
    """A model or its weights cannot be loaded as the user named them."""


def load_model(name: str, weights: Path | None = None, device: torch.device | None = None) -> Model:
    """The model that `name` stands for, in evaluation mode, on `device`.

    Args:
        name: a built-in name, `package.module:callable`, `file.py:callable`, or `model.pt2` (a
            saved `torch.export` program). The callable takes no arguments and returns an
            `nn.Module`; an `nn.Module` in its place will do.
        weights: a state dict saved by `torch.save`; `None` keeps those that the model comes with.
        device: where it shall compute; `None` leaves it where it is.

    Raises:
        ModelError: nothing goes by that name, it does not build, or the weights do not fit it.
    """
    if name.endswith(".pt2"):
        if weights is not None:
            raise ModelError(f"{name} holds its own weights; leave out --weights")
        return _load_program(Path(name), device)
    if name in BUILT_IN:
        model = BUILT_IN[name].build()
        weights = weights or BUILT_IN[name].weights()
    else:
        model = _build(name)
    if weights is not None:
        _load_weights(model, weights, name)
    return model.eval().to(device)


def _load_program(path: Path, device: torch.device | None) -> ExportedProgram:
    if not path.is_file():
        raise ModelError(f"{path}: there is no such file")
    try:
        with silent():
            program = torch.export.load(path)
    except Exception as fault:  # whatever reading a damaged archive comes upon
        raise ModelError(
            f"{path} is not a program saved by torch.export.save ({first_line(fault)})"
        ) from fault
    if device is None or device.type == "cpu":
        return program
    from torch.export.passes import move_to_device_pass

    return move_to_device_pass(program, device)


def _build(name: str) -> nn.Module:
    source, _, attribute = name.rpartition(":")
    if not source or not attribute:
        raise ModelError(
            f"there is no model {name!r}; give one of {', '.join(BUILT_IN)}, "
            "package.module:callable, file.py:callable or model.pt2"
        )
    module = _import_file(Path(source)) if source.endswith(".py") else _import_module(source)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ModelError(
                f"{source} has no {attribute!r}; it is to be a function that returns the model"
            )
        found = getattr(found, part)
    if not isinstance(found, nn.Module):
        make: Callable[[], object] = found
        found = _attempt(make, name, "building the model")
    if not isinstance(found, nn.Module):
        raise ModelError(f"{name} gave a {type(found).__name__}, but a torch.nn.Module is needed")
    return found


def _import_module(source: str) -> ModuleType:
    sys.path.insert(
        0, str(Path.cwd())
    )  # as `python -m` does, so that a script beside the user is found
    try:
        found = importlib.util.find_spec(source) is not None
    except (ModuleNotFoundError, ValueError):
        found = False
    if not found:
        raise ModelError(f"there is no module {source!r}, neither installed nor in {Path.cwd()}")
    return _attempt(lambda: importlib.import_module(source), source, "importing it")


def _import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ModelError(f"{path}: there is no such file")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # dataclasses and pickles look their module up there
    sys.path.insert(0, str(path.resolve().parent))
    execute = spec.loader.exec_module
    _attempt(lambda: execute(module), str(path), "running it")
    return module


def _attempt(action: Callable[[], T], subject: str, doing: str) -> T:
    """What `action` returns; it runs a user's code, so what goes wrong is told to the user."""
    try:
        return action()
    except Exception as fault:
        raise ModelError(f"{subject}: {doing} failed: {first_line(fault)}") from fault


def _load_weights(model: nn.Module, path: Path, name: str) -> None:
    state = _read_state(path)
    own = model.state_dict()
    faults = {
        "missing": [
            key for key in own if key not in state and not key.endswith("num_batches_tracked")
        ],
        "unexpected": [key for key in state if key not in own],
        "of another shape": [
            f"{key} {_shape(state[key])} for {_shape(own[key])}"
            for key in own
            if key in state and state[key].shape != own[key].shape
        ],
    }
    found = [f"{len(keys)} {fault} ({_some(keys)})" for fault, keys in faults.items() if keys]
    if found:
        raise ModelError(f"{path} does not fit {name}: {'; '.join(found)}")
    model.load_state_dict(state, strict=False)


def _read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a file; a checkpoint may keep it under "state_dict"."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"{path}: there is no such file") from None
    except Exception as fault:  # whatever reading an unknown file comes upon
        raise ModelError(
            f"{path} holds no weights that load safely ({first_line(fault)})"
        ) from fault
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(
        isinstance(value, Tensor) for value in state.values()
    ):
        raise ModelError(
            f"{path} holds no state dict; save one with torch.save(model.state_dict(), ...)"
        )
    return state


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def first_line(fault: BaseException) -> str:
    """An exception in one line: its kind, and the first line of what it says."""
    said = str(fault).strip().splitlines()
    return f"{type(fault).__name__}: {said[0]}" if said else type(fault).__name__
