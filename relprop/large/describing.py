"""What decides about relevance, as plain text and numbers: so that only the like is continued."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

import relprop
from relprop.graph.sweep import Sweep
from relprop.storage.provenance import digest_of

VERSIONS = {
    "relprop": relprop.__version__,
    "torch": torch.__version__,
    "numpy": np.__version__,
}


def describe(thing: Any) -> Any:
    """Anything by its type and what it is made of, without addresses."""
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    if isinstance(thing, Tensor):
        return digest_of({"tensor": thing})
    if isinstance(thing, Mapping):
        return {str(key): describe(value) for key, value in thing.items()}
    if isinstance(thing, Sequence):
        return [describe(one) for one in thing]
    name = getattr(thing, "__qualname__", type(thing).__qualname__)
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        fields = [field.name for field in dataclasses.fields(thing) if field.compare]
        return [name, describe({field: getattr(thing, field) for field in fields})]
    return name


def rules_digest(sweep: Sweep) -> str:
    """Tells the rules on a graph from others."""
    pairs = zip(sweep.graph.nodes, sweep.crossings, strict=True)
    listed = [[node.label, node.output, describe(rule)] for node, rule in pairs]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]


def weights_digest(model: nn.Module | ExportedProgram) -> str:
    """Tells a model's weights from others."""
    state: Mapping[str, Tensor]
    state = model.state_dict if isinstance(model, ExportedProgram) else model.state_dict()
    return digest_of(state)
