import pytest

from medte_haystack.encoder import Encoder, TokenSplitter


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return Encoder.load("minilm", device="cpu", precision="fp32")


@pytest.fixture(scope="session")
def splitter(encoder) -> TokenSplitter:
    return TokenSplitter(encoder.tokeniser)
