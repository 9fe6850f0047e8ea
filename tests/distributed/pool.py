"""Ranks that are started once and asked often."""

import io
import os
import pickle
import tempfile
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
import torch.distributed as dist

_MOST = 4
FORKED = get_context("forkserver")  # imports once for all ranks, which it forks
FORKED.set_forkserver_preload(["tests.distributed.preloaded"])
_SECONDS = 300  # that an answer may take before the ranks count as hanging


class Pool:
    """Four gloo ranks; smaller worlds are groups of the first of them."""

    def __init__(self) -> None:
        store = f"file://{tempfile.mkdtemp()}/store"
        pipes = [FORKED.Pipe() for _ in range(_MOST)]
        self.lines = [here for here, _ in pipes]
        self.processes = [
            FORKED.Process(target=serve, args=(rank, store, there), daemon=True)
            for rank, (_, there) in enumerate(pipes)
        ]
        for process in self.processes:
            process.start()

    def __call__(self, world: int, function: Callable[..., Any], *args: Any) -> list[Any]:
        """``function(rank, group, *args)`` on every rank of a world, all at once."""
        for line in self.lines[:world]:
            line.send_bytes(pickle.dumps((world, function, args)))
        answers: dict[int, Any] = {}
        while len(answers) < world:
            waiting = [self.lines[rank] for rank in range(world) if rank not in answers]
            ready = wait(waiting, _SECONDS)
            if not ready:
                self.close()
                raise AssertionError(f"ranks hang, answers came from {sorted(answers)}")
            for line in ready:
                rank = self.lines.index(line)
                good, answers[rank] = torch.load(io.BytesIO(line.recv_bytes()), weights_only=False)
                if not good:
                    self.close()
                    raise AssertionError(f"rank {rank} of {world}:\n{answers[rank]}")
        return [answers[rank] for rank in range(world)]

    def close(self) -> None:
        for process in self.processes:
            process.kill()


def serve(rank: int, store: str, line: Connection) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=_MOST)
    groups = {world: dist.new_group(range(world)) for world in range(1, _MOST)}
    groups[_MOST] = None
    while True:
        try:
            world, function, args = pickle.loads(line.recv_bytes())
        except EOFError:
            os._exit(0)  # gloo's destructor can wait for the GIL forever
        try:
            answer = True, function(rank, groups[world], *args)
        except Exception:
            answer = False, traceback.format_exc()
        written = io.BytesIO()
        torch.save(answer, written)
        line.send_bytes(written.getvalue())


def share(rows: Any, rank: int, sizes: list[int]) -> Any:
    """Rows of a rank."""
    return rows[sum(sizes[:rank]) : sum(sizes[: rank + 1])]


def refused(call: Callable[[], Any]) -> str:
    """Type and message of the error that a call raises."""
    try:
        call()
    except (TypeError, ValueError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"
