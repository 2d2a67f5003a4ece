"""A Ray cluster: reaching one, and how many workers it has room for."""

from __future__ import annotations

import importlib
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from relprop.errors import MissingPackageError, RelpropError

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # it would report to its makers that it is used
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # it would write of its own doings between our lines
}
"""What Ray reads from the environment, unless the user has set it."""
PATIENCE = 10.0
"""Seconds until an address that does not answer is given up."""


class ClusterError(RelpropError, ConnectionError):
    """The machines that were asked for cannot be reached, or are too small."""


@dataclass(frozen=True)
class Cluster:
    """Where workers run, how many, and what each of them takes.

    Attributes:
        address: of a Ray cluster, as `ray.init` takes it; None for this machine alone.
        workers: how many; None for as many as there is room for when the work begins.
        cpus_per_worker: cores, and threads of torch.
        gpus_per_worker: GPUs, or a part of one.
        workers_write: whether they write relevance themselves, into a folder that all share.
    """

    address: str | None = None
    workers: int | None = None
    cpus_per_worker: int = 1
    gpus_per_worker: float = 0.0
    workers_write: bool = False

    @contextmanager
    def joined(self) -> Iterator[Any]:
        """Ray, connected and quiet; a connection that was there before stays as it is.

        Raises:
            MissingPackageError: Ray is not installed. ClusterError: there is no such cluster.
        """
        ray = _ray()
        with _quiet():
            if ray.is_initialized():
                yield ray
                return
            self._connect(ray)
            try:
                yield ray
            finally:
                ray.shutdown()

    def room(self, ray: Any) -> int:
        """For how many workers there is room, or how many were asked for.

        Raises:
            ClusterError: there is room for none, on any machine.
        """
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        needs = {"CPU": self.cpus_per_worker, "GPU": self.gpus_per_worker}
        fitting = sum(
            min(int(machine.get(kind, 0) // need) for kind, need in needs.items() if need)
            for machine in machines
        )
        if not fitting:
            most = {kind: max(machine.get(kind, 0) for machine in machines) for kind in needs}
            raise ClusterError(
                f"no machine of the cluster has room for a worker of {self.cpus_per_worker} CPUs "
                f"and {self.gpus_per_worker:g} GPUs; the largest has {most['CPU']:g} and "
                f"{most['GPU']:g}"
            )
        return self.workers or fitting

    def _connect(self, ray: Any) -> None:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
        if self.address is None:
            options["include_dashboard"] = False
        try:
            if self.address is not None:
                _call(self.address)
            ray.init(self.address or "local", **options)
        except (OSError, RuntimeError, ValueError) as fault:
            place = f"at {self.address}" if self.address else "on this machine"
            said = str(fault).strip().partition("\n")[0]
            raise ClusterError(f"there is no Ray cluster {place} ({said})") from fault


def _call(address: str) -> None:
    """Whether someone answers: Ray itself would go on asking for minutes."""
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdecimal():
        raise ValueError("an address is HOST:PORT")
    with socket.create_connection((host, int(port)), timeout=PATIENCE):
        pass


def _ray() -> Any:
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        importlib.import_module("ray.data")
        return importlib.import_module("ray")
    except ModuleNotFoundError as missing:
        raise MissingPackageError(
            f"workers take {missing.name}, which is not installed: pip install 'relprop[ray]'"
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """What Ray Data would say on the terminal is in its log files alone."""
    handlers = logging.getLogger("ray.data").handlers
    consoles = [handler for handler in handlers if handler.get_name() == "console"]
    levels = [handler.level for handler in consoles]
    for handler in consoles:
        handler.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for handler, level in zip(consoles, levels, strict=True):
            handler.setLevel(level)
