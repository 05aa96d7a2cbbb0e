"""Files of checks: commands, the scores that they shall give, and how far these may be off."""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

OKISH = 1.5
"""How many times the tolerance is still OKish, as in Anserini's regressions of approximate search."""
_ROUNDING = 1e-9  # 0.647 is within 0.002 of 0.645, whatever binary fractions make of it

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class CheckFileError(ValueError):
    """A file that holds no checks, or wrong ones."""


class Verdict(StrEnum):
    """What a check says of a score."""

    OK = "OK"
    OKISH = "OKish"
    FAIL = "FAIL"


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Expected(_Strict):
    """A score of a command.

    :param task: One of its tasks, as it names it.
    :param system: One of its systems, as it names it; may be left out where there is one.
    :param metric: Name of the score.
    :param value: The score.
    """

    task: Text
    system: Text | None = None
    metric: Text
    value: Number


class Check(_Strict):
    """A command and a score that it shall give.

    :param name: Tells it from the others.
    :param command: A line, ``medte-eval run …``.
    :param expected: The score.
    :param tolerance: How far it may be off, up or down, and be OK.
    :param okish: How far it may be off and be OKish; `OKISH` times the tolerance where it is left out.
    """

    name: Text
    command: Text
    expected: Expected
    tolerance: Annotated[Number, Field(ge=0)]
    okish: Annotated[Number, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _may_fail(self) -> Self:
        if self.widest < self.tolerance:
            raise ValueError(f"okish {self.widest:g} is less than tolerance {self.tolerance:g}")
        if self.judge(0.0) is not Verdict.FAIL and self.judge(1.0) is not Verdict.FAIL:
            raise ValueError(f"no score from 0 to 1 is more than {self.widest:g} off {self.expected.value:g}")
        return self

    @property
    def widest(self) -> float:
        """How far the score may be off before the check fails."""
        return OKISH * self.tolerance if self.okish is None else self.okish

    def judge(self, measured: float) -> Verdict:
        """Compare a score with the expected one."""
        off = abs(measured - self.expected.value) - _ROUNDING
        if off <= self.tolerance:
            return Verdict.OK
        return Verdict.OKISH if off <= self.widest else Verdict.FAIL


class _File(_Strict):
    checks: Annotated[list[Check], Field(min_length=1)]

    @field_validator("checks")
    @classmethod
    def _named_apart(cls, checks: list[Check]) -> list[Check]:
        seen: set[str] = set()
        for one in checks:
            if one.name in seen:
                raise ValueError(f"two checks are called {one.name!r}")
            seen.add(one.name)
        return checks


def read_checks(path: Path) -> list[Check]:
    """Read a file of checks.

    :raises CheckFileError: If it cannot be read or something in it is wrong. Names all that is, by check and key.
    """
    try:
        data = yaml.load(path.read_text("utf-8"), _OneOfEachKey)  # noqa: S506  a child of the safe loader
    except (OSError, UnicodeDecodeError) as error:
        raise CheckFileError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'no UTF-8'}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # such as a date that does not exist
        raise CheckFileError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    try:
        return _File.model_validate(data).checks
    except ValidationError as error:
        found = [_told(one, data) for one in error.errors(include_url=False)]
        raise CheckFileError("\n".join([f"{path} is no file of checks:", *dict.fromkeys(found)])) from None


class _OneOfEachKey(yaml.SafeLoader):
    """YAML in which a key that comes twice is an error: else the last one would count, and nobody be told."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"key {twice!r} comes twice", node.start_mark)
        return super().construct_mapping(node, deep)


_HOLDERS: Mapping[int, type[BaseModel]] = {0: _File, 2: Check, 3: Expected}
"""What has keys, by how deep it stands in the file."""


def _told(error: ErrorDetails, data: Any) -> str:
    place, kind, value = error["loc"], error["type"], error["input"]
    holder = _HOLDERS.get(len(place) - (kind == "extra_forbidden"))
    keys = ", ".join(holder.model_fields) if holder else ""
    words = {
        "missing": "is missing",
        "too_short": "is empty",
        "extra_forbidden": f"is no key; the keys are {keys}",
        "model_type": f"is no mapping; its keys are {keys}",
    }
    shown = f", not {value!r}" if isinstance(value, str | int | float) else ""
    told = words.get(kind) or error["msg"].removeprefix("Value error, ") + shown
    return f"  {': '.join(_where(place, data))}: {told}"


def _where(place: Sequence[int | str], data: Any) -> Iterator[str]:
    """Give a place in the file as people read it: ``check 2 ('flat')``, ``expected.value``."""
    if len(place) > 1:
        number = int(place[1])
        name = data["checks"][number].get("name") if isinstance(data["checks"][number], Mapping) else None
        yield f"check {number + 1} ({name!r})" if isinstance(name, str) else f"check {number + 1}"
    keys = place[2:] if len(place) > 1 else place
    if keys:
        yield ".".join(map(str, keys))
    elif not place:
        yield "the file"
