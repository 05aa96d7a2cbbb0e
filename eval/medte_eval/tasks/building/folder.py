"""Built tasks on disk: a folder each with Parquet tables and a manifest, which is there whole or not at all."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from es_ingest.records import ReadError
from medte_eval.tasks.building.manifest import MANIFEST, Manifest, read_manifest

Tables = Mapping[str, Mapping[str, Sequence[Any]]]
"""Table names to column names to values."""
DATA_DIR = "MEDTE_EVAL_DATA"


def default_data_dir() -> Path:
    """Return where built tasks are kept: ``MEDTE_EVAL_DATA``, or `tasks` in the cache folder."""
    from medte_haystack.encoder.backends.cache import cache_folder

    chosen = os.environ.get(DATA_DIR)
    return Path(chosen).expanduser() if chosen else cache_folder() / "tasks"


def find_built(data_dir: Path, name: str) -> Path | None:
    """Return a built task's folder, None if it is not built; what was left aside by a kill is put back."""
    folder = data_dir / name
    if _set_aside(data_dir, name).exists() and not folder.exists():
        with suppress(ReadError), alone(data_dir, name):
            pass
    return folder if (folder / MANIFEST).is_file() else None


def _set_aside(data_dir: Path, name: str) -> Path:
    """Return where an earlier build is while another one takes its place."""
    return data_dir / f".{name}.old"


@contextmanager
def alone(data_dir: Path, name: str) -> Iterator[None]:
    """Hold a task against other builders of it, put back if one of them was killed while it took its place.

    :raises ReadError: If the folder cannot be written.
    """
    from filelock import FileLock

    folder, old = data_dir / name, _set_aside(data_dir, name)
    lock = FileLock(data_dir / f".{name}.lock")
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        if old.exists() and not folder.exists():
            old.rename(folder)
    except OSError as error:
        lock.release()
        raise ReadError(str(data_dir), f"cannot be written: {error.strerror or error}") from None
    try:
        yield
    finally:
        lock.release()


def write_built(data_dir: Path, tables: Tables, manifest: Manifest) -> Path:
    """Write a task; an earlier one of its name is replaced. Call it while `alone`.

    :returns: Its folder, which only its owner may open if the data is private.
    """

    def fill(draft: Path) -> None:
        import pyarrow
        from pyarrow import parquet

        for name, columns in tables.items():
            parquet.write_table(pyarrow.table(dict(columns)), draft / f"{name}.parquet")
        (draft / MANIFEST).write_text(manifest.to_json(), "utf-8")

    return put(data_dir, manifest.name, fill, private=manifest.private)


def put(data_dir: Path, name: str, fill: Callable[[Path], None], *, private: bool) -> Path:
    """Put a folder into place; until then, whatever ends it, an earlier one is there, or comes back (see `alone`).

    :param fill: Fills an empty folder.
    :raises ReadError: If it cannot be written.
    """
    folder, draft, old = data_dir / name, data_dir / f".{name}.draft", _set_aside(data_dir, name)
    try:
        for left in (draft, old):
            shutil.rmtree(left, ignore_errors=True)
        draft.mkdir(mode=0o700 if private else 0o777)
        fill(draft)
        if folder.exists():
            folder.rename(old)
        try:
            draft.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
    except OSError as error:
        raise ReadError(str(folder), f"cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    return folder


def read_built(folder: Path) -> tuple[Tables, Manifest]:
    """Read a built task.

    :raises ReadError: If it is not built or damaged.
    """
    from pyarrow import ArrowException, parquet

    manifest = read_manifest(folder)
    tables = {}
    for name in manifest.rows:
        path = folder / f"{name}.parquet"
        try:
            tables[name] = parquet.read_table(path).to_pydict()
        except (ArrowException, OSError):  # its message may quote content
            raise ReadError(str(path), "is missing or damaged; build the task again") from None
    return tables, manifest
