"""What a command needs to have its stream on a Ray cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from es_ingest.cluster import Connection
from es_ingest.distributed.cluster import Workers, ray_cluster
from es_ingest.distributed.errors import EngineError
from es_ingest.distributed.messages import Recipe
from medte_haystack.encoder import Encoder
from medte_haystack.index import Fingerprint


@dataclass(frozen=True, slots=True)
class RayEngine:
    """A cluster that encodes with a model, or writes vectors that are there.

    :param model: None if the records bring their vectors.
    :param encoder: The driver's, on its CPU: it tells the model apart and reads back, workers encode.
    :param precision: What workers compute in.
    """

    workers: Workers
    connection: Connection
    model: str | None
    encoder: Encoder | None
    precision: str
    max_tokens: int | None

    def stream(self, fingerprint: Fingerprint) -> Any:
        """Return what makes a run's stream, for `RunOptions.stream`.

        :param fingerprint: Of the vectors, as the index has it.
        """
        from es_ingest.distributed.stream import RayStream

        recipe = Recipe(
            fingerprint,
            self.model,
            self.workers.device,
            self.precision,
            self.max_tokens,
            fingerprint.chunk_tokens,
            fingerprint.chunk_overlap or 0,
            self.workers.cpus,
        )
        return partial(RayStream, self.workers, recipe, self.connection)


@contextmanager
def ray_engine(
    connection: Connection,
    model: str | None,
    *,
    address: str | None,
    workers: int | None,
    device: str | None,
    precision: str,
    max_tokens: int | None,
) -> Iterator[RayEngine]:
    """Join a Ray cluster, or start one, for the time of a ``with`` block; see :func:`ray_cluster`.

    :param model: None if the records bring their vectors.
    :raises EngineError: If there is no cluster, or it cannot do what is asked.
    """
    with ray_cluster(address, workers, device) as found:
        found.check_reach(connection.url)
        encoder = None
        if model is not None and found.device == "cpu":
            encoder = Encoder.load(model, device="cpu", precision=precision, max_tokens=max_tokens)
            precision = encoder.precision
        elif model is not None:
            encoder = Encoder.load(model, device="cpu", max_tokens=max_tokens)
            precision = _chosen(model, max_tokens) if precision == "auto" else precision
        yield RayEngine(found, connection, model, encoder, precision, max_tokens)


def _chosen(model: str, max_tokens: int | None) -> str:
    import ray

    from es_ingest.distributed.stages import precision_chosen

    try:
        return str(ray.get(ray.remote(num_gpus=1)(precision_chosen).remote(model, max_tokens)))
    except ray.exceptions.RayTaskError as error:
        raise EngineError(f"a worker cannot load the model: {error.cause}") from error
