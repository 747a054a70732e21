"""Trials on Ray: one task per trial, on this machine or on the nodes of a cluster."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import re
import socket
import sys
import uuid
from pathlib import Path
from typing import Any

from a2c_cli.errors import A2CError, ConfigError
from a2c_cli.evaluation.workers import Died, available_cores
from a2c_cli.sweep.drive import RETRIES
from a2c_cli.sweep.node import Board, work
from a2c_cli.sweep.plan import Trial
from a2c_cli.sweep.state import Ended, Event, Revived

_CONNECT_SECONDS = 5.0


class RayBackend:
    """Runs trials as Ray tasks of one CPU.

    Ray resumes a trial elsewhere when its process or node dies. A node that shares the
    sweep's directory trains in it; any other one trains in a directory of its own, and each
    checkpoint is brought back here as it is saved, so that another node can resume from it.

    Args:
        jobs: trials at a time; None for as many as the cluster has cores for.
        address: of a running cluster (`auto` or host:port); None for a Ray of our own.

    Raises:
        A2CError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, jobs: int | None, address: str | None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        with contextlib.ExitStack() as stack:
            # Ray prints pages about dead nodes on stdout, where only results may stand.
            nowhere = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
            self._ray = _start_or_join(jobs or available_cores(), address)
            self._stack = stack.pop_all()
        self.capacity = jobs or sys.maxsize
        self._running: dict[Any, int] = {}
        self._begun: set[int] = set()
        self._started = 0
        self._stopping = False

    def open(self, directory: Path) -> None:
        """Say where the run directories lie, and leave a mark there by which nodes know it."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ray, self._directory = self._ray, directory.absolute()
        for old in directory.glob(".shared-*"):
            if re.fullmatch(r"\.shared-[0-9a-f]{32}", old.name):
                old.unlink(missing_ok=True)
        self._mark = self._directory / f".shared-{uuid.uuid4().hex}"
        self._mark.touch()
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = ray.remote(
            num_cpus=0, scheduling_strategy=here, max_restarts=-1, max_task_retries=-1
        )(Board)
        self._board = actor.remote(str(self._directory))
        self._task = ray.remote(num_cpus=1, max_retries=RETRIES)(work)

    def start(self, index: int, trial: Trial) -> None:
        """Hand a trial to Ray."""
        self._started += 1
        reference = self._task.remote(index, self._started, trial, str(self._mark), self._board)
        self._running[reference] = index

    def poll(self, seconds: float) -> list[tuple[int, Event]]:
        """What has happened to which trial; waits up to `seconds` for one to end.

        Raises:
            A2CError: the cluster is gone.
        """
        ray, tasks = self._ray, list(self._running)
        try:
            ray.wait(tasks, timeout=seconds)
            done, _ = ray.wait(tasks, num_returns=len(tasks), timeout=0)
            if self._stopping:
                ray.get(self._board.stop.remote())  # again: a board that died has forgotten it
            news, revived = ray.get(self._board.hear.remote())
        except ray.exceptions.RayError as error:
            raise A2CError(
                f"the Ray cluster is gone: {_first_line(error)}",
                "the same command resumes the sweep",
            ) from error
        events: list[tuple[int, Event]] = [
            (index, Revived("Ray lost its process or node")) for index in revived
        ]
        for index in set(news) & set(self._running.values()):
            self._begun.add(index)
            events.append((index, news[index]))
        return events + [(self._running.pop(task), self._ending(task)) for task in done]

    def _ending(self, task: Any) -> Ended | Died:
        try:
            ending: Ended | Died = self._ray.get(task)
            return ending
        except self._ray.exceptions.TaskCancelledError:
            return Ended("interrupted")
        except self._ray.exceptions.RayError as error:
            return Ended("failed", _first_line(error))

    def stop(self) -> None:
        """Ask all trials to save and end, and take back those that have not begun."""
        self._stopping = True
        self._ray.get(self._board.stop.remote())
        for reference, index in self._running.items():
            if index not in self._begun:
                self._ray.cancel(reference)

    def close(self) -> None:
        """Leave Ray; a Ray of our own ends with it."""
        with contextlib.suppress(AttributeError, OSError):
            self._mark.unlink()
        self._ray.shutdown()
        self._stack.close()


def check_request(address: str | None) -> None:
    """Whether Ray can be used at all, found out without importing it.

    Raises:
        A2CError: it is not installed, or the address is of a kind that cannot work.
    """
    if address is not None and not re.fullmatch(r"auto|[^:/\s]+:[0-9]{1,5}", address):
        raise ConfigError(
            f"--ray-address cannot be {address!r}",
            "run on a node of the cluster, with auto or host:port",
        )
    if importlib.util.find_spec("ray") is None:
        raise A2CError("Ray is not installed", "install it: pip install ray")


def _start_or_join(cores: int, address: str | None) -> Any:
    """The `ray` module, connected."""
    options: dict[str, Any] = {"num_cpus": cores, "include_dashboard": False}
    here = "127.0.0.2"  # Ray takes 127.0.0.1 for the host's own address, which may be walled off
    try:
        if address is not None:
            host, _, port = address.partition(":")
            if port:  # Ray itself would try for minutes
                socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
            options, here = {}, host
        if sys.platform == "linux" and here.startswith("127."):
            options["_node_ip_address"] = here
        import ray

        ray.init(address or "local", logging_level=logging.ERROR, log_to_driver=False, **options)
    except (OSError, OverflowError, ValueError, RuntimeError) as error:
        raise A2CError(
            f"cannot {'start' if address is None else 'join'} Ray: {_first_line(error)}",
            "this machine must be a node of the cluster: ray start --address=..."
            if address
            else "try --backend local",
        ) from error
    return ray


def _first_line(error: Exception) -> str:
    """The message without the pages that may follow it."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
