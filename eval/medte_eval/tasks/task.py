"""What all tasks have in common that read their data themselves: mteb never asks the hub."""

from abc import abstractmethod
from typing import Any, Generic, TypeVar

from mteb.abstasks.abstask import AbsTask
from mteb.timing import TimingStack

from medte_eval.tasks.content import SEED, Content

C = TypeVar("C", bound=Content)


class LocalTask(AbsTask, Generic[C]):
    """A task that reads its data itself, beside mteb's class of its type. A child states its `metadata`."""

    left_out = 0
    """Source rows that could not be read; known once the data is loaded."""
    absent = 0
    """Judged documents that the corpus does not have; likewise."""
    sampled: int | None = None
    """How many queries are asked, where not all are."""
    reduced = False
    """Whether it is made of a part of its source alone, which makes it easier."""

    def __init__(self) -> None:
        super().__init__(seed=SEED)

    @abstractmethod
    def read(self) -> C:
        """Read the data.

        :raises ReadError: If its source cannot be read.
        """

    @abstractmethod
    def splits(self, content: C) -> Any:
        """Return the data by split, in the shape that mteb's class wants."""

    @property
    def loaded(self) -> Any:
        """The loaded data by split, in mteb's shape."""
        return (self.dataset or {})["default"]

    def prepare(self, content: C) -> C:
        """Check or sample what was read."""
        return content

    def load_data(
        self,
        num_proc: int | None = None,  # noqa: ARG002  mteb's signature
        *,
        timer: TimingStack | None = None,
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Read the data into mteb's shape; its hash becomes the data set's revision.

        :raises ReadError: If the source cannot be read, or what it holds is no data of such a task.
        """
        if self.data_loaded:
            return
        with (timer or TimingStack())("Data loading"):
            content = self.prepare(self.read())
            self.dataset = {"default": self.splits(content)}
        self.left_out = content.left_out
        found = {**self.metadata.dataset, "revision": content.sha256()}
        self.metadata = self.metadata.model_copy(update={"dataset": found})
        self.data_loaded = True

    def unload_data(self) -> None:
        """Forget the data. mteb's own way also forgets the metadata of an instance, which here is the task's only."""
        self.dataset = {}
        self.data_loaded = False
