"""The Ray Data job: tickets -> encode -> write."""

import threading
from collections.abc import Iterable, Iterator
from typing import Any, Self

import ray
from ray.data import ActorPoolStrategy, DataContext, Datasource, ReadTask, read_datasource
from ray.data.block import BlockMetadata
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from es_ingest.distributed.cluster import Workers
from es_ingest.distributed.desk import Desk
from es_ingest.distributed.errors import EngineError
from es_ingest.distributed.messages import Destination, Recipe
from es_ingest.distributed.stages import REQUESTS, Encode, Write, ticket


class _Tickets(Datasource):
    """Numbers of groups as the driver gives them out; read again, the same come in the same order."""

    def __init__(self, desk: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._desk = desk

    def get_name(self) -> str:
        return "Groups"

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(self, parallelism: int, *_: object, **__: object) -> list[Any]:  # noqa: ARG002
        desk = self._desk

        def read() -> Iterator[Any]:
            number = 0
            while ray.get(desk.is_given.remote(number)):
                yield ticket(number)
                number += 1

        return [ReadTask(read, BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None))]


class Job:
    """A running job, a context manager.

    :param desk: Where its workers meet the driver.
    :ivar dataset: What makes its workers work when it is read.
    :ivar ended: Is set when it is over.
    :ivar error: What ended it before its time.
    """

    def __init__(self, workers: Workers, recipe: Recipe, destination: Destination) -> None:
        _configure()
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self.desk: Any = ray.remote(Desk).options(num_cpus=0, scheduling_strategy=here).remote(destination)
        self.ended = threading.Event()
        self.error: EngineError | None = None
        tickets = read_datasource(_Tickets(self.desk), override_num_blocks=1, num_cpus=0)
        alone: dict[str, Any] = {"batch_size": 1, "batch_format": "pyarrow"}
        encoded = tickets.map_batches(
            Encode,
            fn_constructor_args=(self.desk, recipe),
            compute=ActorPoolStrategy(
                min_size=1, max_size=workers.number, initial_size=workers.number, max_tasks_in_flight_per_actor=2
            ),
            num_cpus=workers.cpus,
            num_gpus=1 if workers.device == "cuda" else None,
            **alone,
        )
        self.dataset: Any = encoded.map_batches(
            Write,
            fn_constructor_args=(self.desk,),  # Ray Data logs what is given here
            compute=ActorPoolStrategy(
                size=workers.machines, max_concurrent_calls_per_actor=REQUESTS, enable_true_multi_threading=True
            ),
            num_cpus=0,
            **alone,
        )
        self._thread = threading.Thread(target=self._drive, name="ray", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        ray.kill(self.desk)

    def _drive(self) -> None:
        try:
            _consume(self.dataset.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow"))
        except Exception as error:  # noqa: BLE001  raised where the groups are given out
            what = next((line for line in str(error).splitlines() if line.strip()), "")
            self.error = EngineError(
                f"Ray gave the job up ({type(error).__name__}: {what}); what the server acknowledged stays, and the"
                " same command again completes it"
            )
        finally:
            self.ended.set()


def _configure() -> None:
    """Have Ray Data hand every ticket on at once, wait for slow sources, and print nothing."""
    context = DataContext.get_current()
    context.target_max_block_size = 1  # a block is a ticket
    context.execution_no_progress_timeout_s = -1
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.enable_auto_log_stats = False


def _consume(items: Iterable[object]) -> None:
    for _ in items:
        pass
