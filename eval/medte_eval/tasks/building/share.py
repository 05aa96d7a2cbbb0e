"""Built tasks to and from another folder or the Hugging Face hub. Those of clinical notes never go to the hub."""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from es_ingest.records import ReadError
from medte_eval.tasks.benchmark import BENCHMARK, NAME, split_name
from medte_eval.tasks.building.folder import alone, find_built, put
from medte_eval.tasks.building.manifest import Manifest
from medte_eval.tasks.content import read_content

logger = logging.getLogger(__name__)

HUB = "hub:"
"""What stands before owner/name of a data set on the hub."""


def push(data_dir: Path, name: str, to: str, *, public: bool = False) -> str:
    """Copy a built task.

    :param to: A folder, or ``hub:owner/name``, a data set that is made if it is missing.
    :param public: Whether anybody may see a data set that is made.
    :returns: Where it went.
    :raises ReadError: If it is not built or damaged, may not go there, or cannot be written.
    """
    folder = data_dir / name
    _, manifest = read_content(folder)
    if not to.startswith(HUB):
        if manifest.private:
            logger.warning("%s: %s Keep %s on this machine.", name, manifest.notice, to)
        return str(_copy(folder, Path(to), manifest))
    if manifest.private:
        raise ReadError(name, f"does not go to the hub: {manifest.notice}")
    from huggingface_hub import HfApi

    repository = to.removeprefix(HUB)
    with _hub_errors(repository):
        api = HfApi(endpoint=_endpoint())
        api.create_repo(repository, repo_type="dataset", private=not public, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            repo_type="dataset",
            folder_path=folder,
            path_in_repo=name,
            delete_patterns="*",  # of an earlier build of it
            commit_message=f"{name}, data {manifest.sha256[:12]}",
        )
    return f"{to}/{name}"


def pull(data_dir: Path, name: str, source: str) -> Path:
    """Fetch a built task.

    :param source: A folder of built tasks, or ``hub:owner/name``.
    :returns: Its folder.
    :raises ReadError: If it is not there, damaged, or cannot be written.
    """
    if not source.startswith(HUB):
        folder = Path(source) / name
    else:
        from huggingface_hub import snapshot_download

        repository = source.removeprefix(HUB)
        with _hub_errors(repository):
            fetched = snapshot_download(
                repository, repo_type="dataset", allow_patterns=[f"{name}/*"], endpoint=_endpoint()
            )
        folder = Path(fetched) / name
    _, manifest = read_content(folder)
    return _copy(folder, data_dir, manifest)


def names_built(data_dir: Path, names: list[str]) -> Iterator[str]:
    """Give the names under which tasks are built: with a language model's help, without it, or both.

    :param names: The tasks', or the benchmark's for all that are built.
    :raises ReadError: If one is not built.
    """
    for name in names:
        if name == NAME:
            known = [one for task in BENCHMARK.values() for one in dict.fromkeys((task.name, task.llm_free_name))]
            yield from (one for one in known if find_built(data_dir, one) is not None)
            continue
        found = split_name(name)
        exact = [name] if found is None or found[1] else list(dict.fromkeys((name, found[0].llm_free_name)))
        built = [one for one in exact if find_built(data_dir, one) is not None]
        if not built:
            raise ReadError(name, f"is not built in {data_dir}")
        yield from built


def _copy(folder: Path, to: Path, manifest: Manifest) -> Path:
    if folder.resolve() == (to / manifest.name).resolve():
        raise ReadError(str(folder), "is where it shall go; name another folder")

    def fill(draft: Path) -> None:
        for path in sorted(folder.iterdir()):
            shutil.copyfile(path, draft / path.name)

    with alone(to, manifest.name):
        return put(to, manifest.name, fill, private=manifest.private)


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


@contextmanager
def _hub_errors(repository: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        raise ReadError(
            f"{HUB}{repository}",
            f"the hub does not do it: {reason}\n  check the name, `hf auth login` and the network, or use a folder",
        ) from error
