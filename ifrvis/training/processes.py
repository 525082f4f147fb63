"""The processes that train one run together: who they are, and what they agree on.

Each holds the whole model and trains on a share of every global batch; torch's DistributedDataParallel sums their
gradients, over Gloo on CPUs and NCCL on GPUs. A process that fails or is asked to stop takes the others along at the
same iteration, so that none waits for one that has gone. What fails inside a backward pass is told beside the group,
through the store where the processes met: there the others are waiting for gradients and can be asked nothing.
"""

import contextlib
import inspect
import json
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed.distributed_c10d import PrefixStore, _abort_process_group
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from ifrvis.errors import UserError

MEETING_LIMIT = timedelta(minutes=10)
LIMIT = timedelta(minutes=30)  # of a wait for another process: the first predicts and writes while the others wait
LOOKS_EVERY_S = 0.5
_FAILED = "failed"  # what the first process to fail tells: its rank and its error
_KEPT: list[Any] = []  # process groups, see `join_processes`


def pick_device() -> torch.device:
    """The first GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def check_gpu() -> None:
    """Pass only where torch can use a GPU; UserError else."""
    if not torch.cuda.is_available():
        built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "for the CPU alone"
        cure = "Install a torch that the GPU's driver takes (`nvidia-smi` says up to which CUDA), or a newer driver"
        raise UserError(f"{cure}: torch {torch.__version__} is built {built}, and finds no GPU that it can use here.")


@dataclass(frozen=True)
class Processes:
    """The processes of one training as one of them sees them; by default it is alone."""

    rank: int = 0  # number of this process; the first, 0, writes checkpoints and speaks for all
    world_size: int = 1
    device: torch.device = field(default_factory=pick_device)  # where this one computes
    store: Any = None  # where they met; what one tells there, the others find without a collective operation

    def total(self, values: Sequence[float]) -> list[float]:
        """Each value summed over the processes."""
        if self.world_size == 1:
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(summed)
        return summed.tolist()

    def from_first(self, value: Any) -> Any:
        """What the first process gives."""
        box = [value]
        if self.world_size > 1:
            distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def of_all(self, value: Any) -> list[Any]:
        """What each process gives, by rank."""
        values = [value] * self.world_size
        if self.world_size > 1:
            distributed.all_gather_object(values, value)
        return values

    @contextlib.contextmanager
    def agreeing(self) -> Iterator[None]:
        """What one process raises inside the block, which asks the others nothing, all raise at its end."""
        error: Exception | None = None
        try:
            yield
        except Exception as raised:
            if self.world_size == 1:
                raise
            error = raised
        if self.total([error is not None])[0]:
            raised_by = self.of_all(self._for_others(error))
            raise error or next(each for each in raised_by if each is not None)

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """What one process raises inside the block, in which they wait for one another, all raise there."""
        try:
            yield
        except Exception as error:
            if self.store is None:
                raise
            # The first to fail has told; it may be this one, and the others fail for want of it.
            told = json.dumps([self.rank, str(self._for_others(error))])
            rank, first = json.loads(self.store.compare_set(_FAILED, "", told))
            raise error if rank == self.rank else RuntimeError(first) from None

    def _for_others(self, error: Exception | None) -> Exception | None:
        """What can be sent: errors for people are their message, others may hold anything."""
        if error is None or isinstance(error, UserError):
            return error
        return RuntimeError(f"{type(error).__name__} in process {self.rank}: {error}")

    def summing_gradients(self, model: nn.Module) -> nn.Module:
        """The model; of several processes, one whose backward pass leaves the mean of all their gradients."""
        if self.world_size == 1:
            return model
        on_cpu = self.device.type == "cpu"
        known = inspect.signature(DistributedDataParallel).parameters
        buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # in older torch
        # No step leaves a weight out. But unless it looks for such weights, torch regroups gradients after the first
        # iteration of an attempt: three processes and more would then add them in another order after each restart.
        # GPUs do not promise the same bits, and need not search the graph in every iteration.
        options: dict[str, Any] = {buffers: False, "find_unused_parameters": on_cpu}
        return DistributedDataParallel(model, None if on_cpu else [self.device], **options)


@contextlib.contextmanager
def join_processes(init_method: str = "env://") -> Iterator[Processes]:
    """Meet the other processes of a training, as RANK, WORLD_SIZE and LOCAL_RANK of the environment say, until the end.

    They meet at MASTER_ADDR and MASTER_PORT of the environment, or at `file://` and a new file that all of them see.
    """
    rank, world_size, local_rank = (
        int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
    )
    if world_size == 1:
        yield Processes()
        return
    if (here := int(os.environ.get("LOCAL_WORLD_SIZE", world_size))) != world_size:
        raise UserError(f"Start all processes of a run on one node, got {here} of {world_size}.")
    device = pick_device()
    if device.type == "cuda":
        device = torch.device("cuda", local_rank % torch.cuda.device_count())
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    store, _, _ = next(rendezvous(init_method, rank, world_size, timeout=MEETING_LIMIT))
    group = PrefixStore("group", store)
    distributed.init_process_group(backend, store=group, rank=rank, world_size=world_size, timeout=LIMIT)
    # Where another process was killed, what torch keeps for its gradients would be the last to let go of the group,
    # and would wait for its threads while they wait for Python's lock: now and then this process would hang.
    _KEPT.append(distributed.group.WORLD)
    over = threading.Event()
    watch = threading.Thread(target=_leave_when_told, args=(store.clone(), over), daemon=True)
    watch.start()
    try:
        yield Processes(rank, world_size, device, store)
    finally:
        over.set()
        watch.join()
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _leave_when_told(store: Any, over: threading.Event) -> None:
    """Abort the group once a process has told that it failed: NCCL would wait for its gradients until the time limit.

    Whoever waits goes on with garbage, which nobody keeps: the next operation of the group raises, and before a
    checkpoint there always is one.
    """
    while not over.wait(LOOKS_EVERY_S):
        try:
            told = store.check([_FAILED])
        except RuntimeError:  # the first process, which keeps the store, has gone
            told = True
        if told:
            with contextlib.suppress(AssertionError, ValueError):  # the group has been left already
                _abort_process_group()
            return
