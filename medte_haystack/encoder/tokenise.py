"""Text -> token ids, with everything that was cut counted."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tokenizers import Encoding, Tokenizer, normalizers

from medte_haystack.encoder.files import ModelFiles
from medte_haystack.encoder.models import read_json, usable_positions
from medte_haystack.errors import EncoderOptionError, ModelError

_SURROGATE = re.compile("[\ud800-\udfff]")


def replace_surrogates(text: str) -> str:
    """Replace each lone surrogate by U+FFFD: UTF-8, and so the tokenizer and Elasticsearch, cannot hold one.

    The length in characters stays, so offsets into the text stay valid.
    """
    return _SURROGATE.sub("\ufffd", text)


def check_string(text: object, position: int) -> None:
    """Check that a text is a string; the tokenizer would take a pair for a text and its counterpart.

    :param position: Where it stands in the caller's input, for the message.
    :raises TypeError: If it is not.
    """
    if not isinstance(text, str):
        raise TypeError(f"text {position} is of type {type(text).__name__}; the encoder takes strings")


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids of some texts.

    :param ids: One list of ids a text, special tokens included, at most the model's maximum long.
    :param truncated: Positions of the texts that were longer than the maximum and lost their end.
    """

    ids: list[list[int]]
    truncated: list[int]


class Tokeniser:
    """A model's own tokenizer.

    :param folder: Model folder with `tokenizer.json` (or `vocab.txt`).
    :param max_tokens: Longest input in tokens, special tokens included.
    :param vocab_size: Rows of the model's embedding table; a tokenizer that can exceed it is refused.
    :raises ModelError: If the tokenizer is missing, damaged, or does not fit the model.
    """

    def __init__(self, folder: Path, max_tokens: int, vocab_size: int) -> None:
        self.max_tokens = max_tokens
        self.hf_tokenizer = _load(folder)
        self.hf_tokenizer.no_truncation()
        self.hf_tokenizer.no_padding()
        highest = max(self.hf_tokenizer.get_vocab(with_added_tokens=True).values())
        if highest >= vocab_size:
            raise ModelError(
                f"the tokenizer in {folder} does not fit the model: it gives token ids up to {highest}, the model"
                f" knows {vocab_size}",
                path=str(folder),
            )
        self.special_tokens = len(self.hf_tokenizer.encode("").ids)
        if self.special_tokens != 2:
            raise ModelError(
                f"the tokenizer in {folder} frames a text with {self.special_tokens} special tokens; BERT-shaped models"
                " have two",
                path=str(folder),
            )

    @classmethod
    def of(cls, files: ModelFiles, max_tokens: int | None = None) -> Self:
        """Load the tokenizer of a model.

        :param max_tokens: Another maximum than the model's own, up to its number of positions.
        :raises EncoderOptionError: If the maximum is out of range.
        """
        config = read_json(files.folder / "config.json")
        positions = usable_positions(config) or files.spec.max_tokens
        if max_tokens is not None and not 3 <= max_tokens <= positions:
            raise EncoderOptionError(
                f"max_tokens is {max_tokens}; model {files.spec.name!r} takes 3 to {positions}", max_tokens=max_tokens
            )
        tokeniser = cls(files.folder, max_tokens or files.spec.max_tokens, int(config.get("vocab_size") or 0))
        if read_json(files.folder / "sentence_bert_config.json").get("do_lower_case"):
            _lower(tokeniser.hf_tokenizer)
        return tokeniser

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Return the ids of each text; a text that is too long keeps its first tokens and the closing one.

        :raises TypeError: If one of the texts is no string.
        """
        ids: list[list[int]] = []
        truncated = []
        for encoding in self._encode(texts, special=True):
            one = encoding.ids
            if len(one) > self.max_tokens:
                one = one[: self.max_tokens - 1] + one[-1:]
                truncated.append(len(ids))
            ids.append(one)
        return Tokens(ids, truncated)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return each text's number of tokens, neither cut nor framed by special tokens.

        :raises TypeError: If one of the texts is no string.
        """
        return [len(encoding.ids) for encoding in self._encode(texts, special=False)]

    def _encode(self, texts: Sequence[str], *, special: bool) -> list[Encoding]:
        for position, text in enumerate(texts):
            check_string(text, position)
        try:
            return self.hf_tokenizer.encode_batch_fast(texts, add_special_tokens=special)
        except TypeError:  # a lone surrogate
            clean = [replace_surrogates(text) for text in texts]
            return self.hf_tokenizer.encode_batch_fast(clean, add_special_tokens=special)


def _load(folder: Path) -> Tokenizer:
    path = folder / "tokenizer.json"
    if not path.is_file():
        path = folder / "vocab.txt"
    if not path.is_file():
        raise ModelError(f"{folder} holds neither tokenizer.json nor vocab.txt", path=str(folder))
    try:
        if path.suffix == ".json":
            return Tokenizer.from_file(str(path))
        from transformers import AutoTokenizer

        made = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        tokenizer: Tokenizer = made.backend_tokenizer
        return tokenizer
    except Exception as error:
        raise ModelError(f"{path} cannot be loaded ({error}); fetch the model again", path=str(path)) from error


def _lower(tokenizer: Tokenizer) -> None:
    """Have a tokenizer lower texts first, unless it does so anyway, as sentence-transformers does."""
    before: Any = tokenizer.normalizer
    steps = [] if before is None else [before]
    if isinstance(before, normalizers.Sequence):
        steps = [before[at] for at in range(len(before))]
    if not any(isinstance(step, normalizers.Lowercase) for step in steps):
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *steps])
