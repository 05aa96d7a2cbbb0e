"""Ray's cluster: one that is there, or one of our own on this machine; and how many workers it has room for."""

import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Any

from es_ingest.cluster.connection import is_loopback
from es_ingest.distributed.errors import EngineError

logger = logging.getLogger(__name__)

_OBJECT_STORE_BYTES = 512 << 20  # of a local cluster: what is under way at a time is far less
_LISTENS_SECONDS = 10.0
_CHECK_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Workers:
    """The workers that encode.

    :param number: How many.
    :param cpus: Cores of each.
    :param device: ``cpu``, or ``cuda`` for a GPU each.
    :param machines: How many machines the cluster has; on each of them one more worker writes.
    :param remote: Whether there are others than the driver's own.
    """

    number: int
    cpus: int
    device: str
    machines: int = 1
    remote: bool = False

    def check_reach(self, url: str) -> None:
        """Check that the address of a server means the same on all machines.

        :raises EngineError: If it does not.
        """
        if self.remote and is_loopback(url):
            raise EngineError(
                f"workers on other machines cannot reach the server at {url}; give --es an address that they can"
            )


@contextmanager
def ray_cluster(address: str | None, number: int | None, device: str | None) -> Iterator[Workers]:
    """Join a cluster for the time of a ``with`` block, or start one and end it.

    :param address: Such as ``auto`` or ``host:6379``; None or ``local`` starts one on this machine.
    :param number: How many workers shall encode; None: one a GPU, or what the machines' cores allow.
    :param device: ``cpu``, ``cuda``, or None for GPUs where the cluster has them.
    :raises EngineError: If Ray is missing, no cluster answers, or it lacks what is asked for.
    """
    local = address in (None, "local")
    ray = _ray(own=local)
    if not local and "://" in str(address):
        raise EngineError(
            f"--ray-address {address!r} is a client's address; run es-ingest on a machine of the cluster, for example"
            " by `ray job submit`, with --ray-address auto"
        )
    with ExitStack() as stack:
        own: dict[str, Any] = {}
        if local:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="medte-ray-", ignore_cleanup_errors=True))
            # Ray opens its folder to everybody, so it lies in one of ours
            own = {"_temp_dir": f"{folder}/ray", "object_store_memory": _OBJECT_STORE_BYTES, "include_dashboard": False}
        _join(ray, "local" if local else address, own)
        stack.callback(ray.shutdown)
        yield _workers(ray, number, device)


def _join(ray: Any, address: str | None, options: Mapping[str, Any]) -> None:
    if ":" in str(address):
        _check_listens(str(address))
    before = signal.getsignal(signal.SIGTERM)
    try:
        with _stderr_closed():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (OSError, RuntimeError, ValueError, TimeoutError, ray.exceptions.RayError) as error:
        what = "Ray cannot be started here" if address == "local" else f"the Ray cluster {address!r} cannot be joined"
        hint = "" if os.environ.get("RAY_AUTH_MODE") else "; if it wants a token, set RAY_AUTH_MODE=token and its token"
        raise EngineError(f"{what}: {_first_line(error)}{hint}") from error
    finally:
        if signal.getsignal(signal.SIGTERM) is not before:  # Ray puts its own there
            signal.signal(signal.SIGTERM, before)


def _check_listens(address: str) -> None:
    """Check that something is at an address: Ray would try for minutes.

    :param address: ``host:port``.
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_LISTENS_SECONDS).close()
    except (OSError, ValueError) as error:
        raise EngineError(f"no Ray cluster answers at {address!r} ({error}); correct --ray-address") from error


@contextmanager
def _stderr_closed() -> Iterator[None]:
    """Keep what Ray's core says as it starts from stderr, which it writes to by itself."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _workers(ray: Any, number: int | None, device: str | None) -> Workers:
    nodes = [node for node in ray.nodes() if node["Alive"]]
    _check_installed(ray, nodes)
    sizes = [(int(one["Resources"].get("CPU", 0)), int(one["Resources"].get("GPU", 0))) for one in nodes]
    here = ray.util.get_node_ip_address()
    workers = plan_workers(sizes, number, device, remote=any(node["NodeManagerAddress"] != here for node in nodes))
    logger.info(
        "Ray cluster: machines: %d, workers that encode: %d, each with %s",
        workers.machines,
        workers.number,
        "a GPU" if workers.device == "cuda" else f"{workers.cpus} of the cores",
    )
    return workers


def plan_workers(
    nodes: Sequence[tuple[int, int]], number: int | None, device: str | None, *, remote: bool = False
) -> Workers:
    """Return how many workers encode, and what each has.

    On CPUs that is by default one for each machine, with as many cores as let all of them have a place, and more where
    larger machines have room for more.

    :param nodes: Cores and GPUs of each machine.
    :raises EngineError: If the cluster has not what is asked for.
    """
    gpus = sum(gpu for _, gpu in nodes)
    if device == "cuda" and not gpus:
        raise EngineError("the Ray cluster has no GPU; leave --device out, or say cpu")
    if gpus and device != "cpu":
        if number is not None and number > gpus:
            raise EngineError(f"{number} workers want a GPU each and the Ray cluster has {gpus}; lower --workers")
        share = min(max(1, cpu // gpu) for cpu, gpu in nodes if gpu)
        return Workers(number or gpus, share, "cuda", len(nodes), remote)
    cores = [cpu for cpu, _ in nodes if cpu]
    wanted = number or len(cores)
    if not 0 < wanted <= sum(cores):
        raise EngineError(
            f"{wanted} workers want a core each and the Ray cluster has {sum(cores)}; lower --workers"
            if cores
            else "the Ray cluster has no CPUs for its workers"
        )
    share = next(size for size in range(max(cores), 0, -1) if sum(one // size for one in cores) >= wanted)
    return Workers(number or sum(one // share for one in cores), share, "cpu", len(nodes), remote)


def _ray(*, own: bool) -> Any:
    """Import Ray, which reads its environment once.

    :param own: Whether it will start a cluster of our own. It listens to the whole network; the token for it shall not
        stay in a file, as Ray's own would.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its core writes to our stderr
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # and warns of what it will do one day
    if own and "RAY_AUTH_MODE" not in os.environ and "ray" not in sys.modules:
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    try:
        ray = import_module("ray")
        import_module("ray.data")  # wants more packages than Ray itself
    except ImportError as error:
        raise EngineError(f"--engine ray needs Ray ({error}): pip install 'medte[ray]'") from error
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what goes wrong is raised
    return ray


def _check_installed(ray: Any, nodes: Sequence[Any]) -> None:
    """Check that each machine has this version of us."""

    def look() -> str:
        import es_ingest.distributed.stages  # noqa: F401

        return version("medte")

    probe = ray.remote(num_cpus=0, max_retries=0)(look)
    affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    asked = [
        (str(node["NodeManagerAddress"]), probe.options(scheduling_strategy=affinity(node["NodeID"], soft=False)))
        for node in nodes
    ]
    answers = [(where, one.remote()) for where, one in asked]
    mine = version("medte")
    for where, answer in answers:
        try:
            found = ray.get(answer, timeout=_CHECK_SECONDS)
        except ray.exceptions.GetTimeoutError as error:
            raise EngineError(f"the machine {where} of the Ray cluster does not answer") from error
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            raise EngineError(
                f"medte cannot be used on the machine {where} of the Ray cluster ({_first_line(cause)}); install it"
                f" there: pip install 'medte[ray]=={mine}'"
            ) from error
        if found != mine:
            raise EngineError(
                f"the machine {where} of the Ray cluster has medte {found}, this one {mine}; install the same on all"
            )


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
