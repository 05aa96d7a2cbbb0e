"""Text -> pieces that fit a model, by the model's own tokens.

`semantic-text-splitter` finds the places: paragraphs, then whole sentences where they fit, then words. Here is only
what the encoder knows beside it: how many tokens fit, and how many a title takes away from them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from semantic_text_splitter import TextSplitter

from medte_haystack.encoder.tokenise import Tokeniser, replace_surrogates
from medte_haystack.errors import EncoderOptionError

_STEP = 8  # reserves are rounded up to a multiple, so that few splitters are made


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text.

    :param text: The part, without white space at its ends.
    :param start: Its first character in the text.
    :param end: One past its last character.
    """

    text: str
    start: int
    end: int


class TokenSplitter:
    """Splits texts into pieces of at most so many tokens.

    :param tokeniser: The model's tokenizer.
    :param chunk_tokens: Most tokens of a piece, special tokens not counted; None takes what the model takes.
    :param overlap: Most tokens that a piece repeats from the one before it (whole sentences where they fit).
    :raises EncoderOptionError: If the numbers do not go together or exceed what the model takes.
    """

    def __init__(self, tokeniser: Tokeniser, *, chunk_tokens: int | None = None, overlap: int = 0) -> None:
        fits = tokeniser.max_tokens - tokeniser.special_tokens
        chunk_tokens = fits if chunk_tokens is None else chunk_tokens
        if not 1 <= chunk_tokens <= fits:
            raise EncoderOptionError(
                f"a chunk of {chunk_tokens} tokens does not fit the model, which takes 1 to {fits} beside its special"
                " tokens",
                chunk_tokens=chunk_tokens,
                limit=fits,
            )
        if not 0 <= overlap <= chunk_tokens // 2:
            raise EncoderOptionError(
                f"an overlap of {overlap} tokens does not go with chunks of {chunk_tokens}; take 0 to"
                f" {chunk_tokens // 2}",
                overlap=overlap,
            )
        self.tokeniser = tokeniser
        self.chunk_tokens = chunk_tokens
        self.overlap = overlap
        self._splitter = cache(self._make_splitter)

    def split(self, text: str, *, title: str = "") -> list[Piece]:
        """Split one text; see :meth:`split_many`."""
        return next(self.split_many([text], titles=[title]))

    def split_many(
        self, texts: Sequence[str], *, titles: Sequence[str] | None = None, lengths: Sequence[int] | None = None
    ) -> Iterator[list[Piece]]:
        """Split texts; what fits whole is one piece.

        :param texts: The texts.
        :param titles: Texts that will be put before each piece when it is embedded: their tokens are kept free, though
            pieces never shrink below half of `chunk_tokens`.
        :param lengths: The texts' numbers of tokens, if they have been counted.
        :returns: The pieces of each text in order; none for a blank text.
        """
        lengths = self.tokeniser.count(texts) if lengths is None else lengths
        reserved = [0] * len(texts) if titles is None else self.tokeniser.count(titles)
        for text, length, reserve in zip(texts, lengths, reserved, strict=True):
            if not text.strip():
                yield []
                continue
            room = self._room(reserve)
            if length <= room:
                start = len(text) - len(text.lstrip())
                whole = text.strip()
                yield [Piece(whole, start, start + len(whole))]
                continue
            # the splitter sees U+FFFD for a lone surrogate; offsets are the same, so the piece is cut from the original
            found = self._splitter(room).chunk_indices(replace_surrogates(text))
            yield [Piece(text[at : at + len(part)], at, at + len(part)) for at, part in found]

    def _room(self, reserve: int) -> int:
        reserve = -(-reserve // _STEP) * _STEP
        fits = self.tokeniser.max_tokens - self.tokeniser.special_tokens
        return max(-(-self.chunk_tokens // 2), min(self.chunk_tokens, fits - reserve))

    def _make_splitter(self, room: int) -> TextSplitter:
        return TextSplitter.from_huggingface_tokenizer(
            self.tokeniser.hf_tokenizer, room, overlap=min(self.overlap, room // 2), trim=True
        )
