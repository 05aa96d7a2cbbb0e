"""Fixtures that all tests share: one real server for the session, a fresh index name for each test."""

import logging
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from es_ingest.cluster import Connection, open_cluster


@pytest.fixture(scope="session")
def connection() -> Iterator[Connection]:
    """A real server, empty at the start: what `auto` finds, or MEDTE_TEST_ES in the version MEDTE_TEST_ES_VERSION."""
    version = os.environ.get("MEDTE_TEST_ES_VERSION")
    with open_cluster(os.environ.get("MEDTE_TEST_ES", "auto"), ephemeral=True, heap="1g", version=version) as found:
        yield found


@pytest.fixture
def index(connection: Connection, request: pytest.FixtureRequest) -> Iterator[str]:
    """A name for an index, which is deleted after the test."""
    name = f"test-{re.sub('[^a-z0-9]+', '-', request.node.name.lower())[:60]}-{uuid4().hex[:8]}"
    yield name
    with connection.client() as client:
        client.options(ignore_status=404).indices.delete(index=name)


def pytest_configure() -> None:
    """Heed SIGINT, which a shell has what runs in its background ignore, and all that this starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ledgers and dead letters of this session stay away from the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ES_INGEST_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """A command that a test runs in this process leaves no handlers and levels to the next test."""
    found = [logging.getLogger(name) for name in ("es_ingest", "medte_haystack", "medte_eval", "medte_train")]
    before = [(logger.level, logger.handlers, logger.propagate) for logger in found]
    yield
    for logger, (level, handlers, propagate) in zip(found, before, strict=True):
        logger.setLevel(level)
        logger.handlers, logger.propagate = handlers, propagate


@pytest.fixture(scope="session")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny cross-encoder of random weights: its order means nothing, but is always the same."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    from medte_haystack.encoder.files import locate

    folder = tmp_path_factory.mktemp("cross-encoder")
    tokenizer = AutoTokenizer.from_pretrained(locate("minilm").folder)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), num_labels=1, **shape)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def chromium() -> Iterator[Callable[..., Any]]:
    """Makes browsers: of a size, light or dark. Skips where there is no Chromium, or no driver for it."""
    webdriver = pytest.importorskip("selenium.webdriver")
    names = ("chromium", "chromium-browser", "google-chrome")
    binary, driver = next(filter(None, map(shutil.which, names)), None), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("no chromium with chromedriver on the PATH (Debian: apt install chromium chromium-driver)")
    running: list[Any] = []

    def browser(width: int = 1400, height: int = 900, *, scheme: str = "light") -> Any:
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        for one in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
            options.add_argument(one)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        running.append(found)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        found.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        found.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        return found

    yield browser
    for one in running:
        one.quit()


@pytest.fixture(scope="session")
def axe() -> Callable[[Any], list[tuple[str, list[str]]]]:
    """Gives what axe-core finds wrong with the page that a browser shows: rules, and where they are broken."""
    script = (Path(__file__).with_name("axe") / "axe.min.js").read_text("utf-8")

    def violations(driver: Any) -> list[tuple[str, list[str]]]:
        driver.execute_script(script)
        found = driver.execute_async_script("axe.run().then(arguments[0])")
        assert any(one["id"] == "color-contrast" for one in found["passes"]), "contrast was measured"
        return [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found["violations"]]

    return violations
