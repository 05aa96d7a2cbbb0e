"""The page in a real browser, opened as a file."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from medte_eval.failures import failure_file, note_failure
from medte_eval.report.build import make_report
from medte_eval.report.rendering import render_html
from medte_eval.report.writing import NONE

from .made import BM25, DENSE, ENCODER, make_result, timed

QUERIES = [1.0, 0.0, 0.5, 0.25, 0.75] * 3
LONG = "AnExtraordinarilyLongNameOfATaskWithoutAnyPlaceWhereItMightBeBrokenRetrieval" * 2
HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report with everything that one can have; its address."""
    folder = tmp_path_factory.mktemp("results")
    sizes = {"queries": 300, "documents": 5183, "chunks": 5183}
    for number, system in enumerate((ENCODER, DENSE, BM25, {**DENSE, "chunk_tokens": 128})):
        latency = timed(10 + number, "encoding alone" if system is ENCODER else "encoding and search")
        disk = {} if system is ENCODER else {"index_bytes": 1_000_000 * number}
        for task in ("MedMCQARetrieval", "PubMedRetrieval", LONG):
            shift = [min(1.0, one + number / 10) for one in QUERIES]
            make_result(folder, task, 0.4 + number / 10, system=system, queries=shift, latency=latency, **disk)
        make_result(folder, "scifact", 0.6 + number / 100, system=system, counts=sizes)
    make_result(folder, HOSTILE, 0.5, kind="Classification", task={"description": HOSTILE}, notes=[HOSTILE])
    (folder / "half.run.json").write_text("{")
    note_failure(failure_file(folder, "T"), {"task": HOSTILE, "system": None, "exit_status": 7, "message": HOSTILE})
    file = folder / "report.html"
    file.write_text(render_html(make_report([folder])), encoding="utf-8")
    return file.as_uri()


@pytest.fixture(scope="module")
def browsers(chromium: Callable[..., Any]) -> Callable[..., Any]:
    """One browser of each kind, since each takes seconds to start."""
    kinds: dict[tuple[int, str], Any] = {}

    def give(width: int, scheme: str = "light") -> Any:
        if (width, scheme) not in kinds:
            kinds[width, scheme] = chromium(width, 900, scheme=scheme)
        return kinds[width, scheme]

    return give


@pytest.fixture
def browser(browsers: Callable[..., Any], page: str) -> Iterator[Any]:
    """A wide browser with the page open; its console must stay empty."""
    found = browsers(1280)
    found.get(page)
    yield found
    assert found.get_log("browser") == []


def column(driver: Any, table: int, number: int) -> list[list[str]]:
    """What each group of rows of a table shows in a column."""
    script = """
        return [...document.querySelectorAll("table")[arguments[0]].tBodies].map((body) =>
            [...body.rows].filter((row) => !row.matches(".group")).map((row) => row.cells[arguments[1]].innerText))
    """
    return [[text.split("\n")[0] for text in group] for group in driver.execute_script(script, table, number)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_accessible_and_not_too_wide(browsers: Any, page: str, axe: Any, width: int, scheme: str) -> None:
    driver = browsers(width, scheme)
    driver.get(page)
    driver.execute_script("document.querySelectorAll('details').forEach((one) => (one.open = true))")

    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    assert axe(driver) == []
    assert driver.get_log("browser") == []
    assert driver.title == "medte evaluation report", "nothing of the results was run"


def test_nothing_is_asked_of_the_network(browser: Any, page: str) -> None:
    browser.get_log("performance")
    browser.get(page)

    messages = [json.loads(one["message"])["message"] for one in browser.get_log("performance")]
    asked = {one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"}
    assert {url for url in asked if not url.startswith("data:")} == {page}
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0


def test_the_policy_stops_what_would_ask(browsers: Any, page: str) -> None:
    driver = browsers(1280)
    driver.get(page)
    driver.get_log("browser")

    refused = driver.execute_async_script("""
        const done = arguments[0];
        const image = new Image();
        image.onerror = () => done(true);
        image.onload = () => done(false);
        image.src = "http://127.0.0.1:9/x.png";
    """)

    assert refused
    assert any("Content Security Policy" in one["message"] for one in driver.get_log("browser"))


def test_tables_are_sorted_by_keyboard(browser: Any) -> None:
    header = browser.find_element(By.CSS_SELECTOR, "table thead th:nth-child(5)")
    assert header.text.startswith("Retrieval")
    before = column(browser, 0, 4)
    assert [len(group) for group in before] == [4, 17], "measured on some tasks, and published of all"

    button = header.find_element(By.TAG_NAME, "button")
    button.send_keys(Keys.ENTER)
    down = column(browser, 0, 4)
    assert header.get_attribute("aria-sort") == "descending"
    button.send_keys(Keys.SPACE)
    up = column(browser, 0, 4)
    assert header.get_attribute("aria-sort") == "ascending"

    assert [sorted(group, key=float, reverse=True) for group in before] == down
    assert [sorted(group, key=float) for group in before] == up
    assert browser.switch_to.active_element.tag_name == "button", "the focus stays"
    name = browser.find_element(By.CSS_SELECTOR, "table thead th:first-child button")
    name.send_keys(Keys.ENTER)
    published = column(browser, 0, 0)[1]
    assert published == sorted(published, key=str.lower)
    assert header.get_attribute("aria-sort") is None


def test_what_has_no_value_is_sorted_last(browser: Any) -> None:
    tables = browser.find_elements(By.CSS_SELECTOR, "#costs table")
    number = browser.find_elements(By.TAG_NAME, "table").index(tables[0])
    button = tables[0].find_element(By.CSS_SELECTOR, "thead th:nth-child(7) button")  # on disk; not the model alone

    for _ in range(2):
        button.send_keys(Keys.ENTER)
        groups = column(browser, number, 6)
        assert all(group[-1] == NONE and NONE not in group[:-1] for group in groups)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_until_they_are_chosen(browsers: Any, page: str, scheme: str) -> None:
    driver = browsers(1280, scheme)
    driver.get(page)

    def ground() -> str:
        return str(driver.execute_script("return getComputedStyle(document.body).backgroundColor"))

    by_system = ground()
    found = {}
    for name in ("light", "dark", "auto"):
        driver.find_element(By.ID, f"scheme-{name}").send_keys(Keys.SPACE)
        found[name] = ground()
    assert found["light"] != found["dark"]
    assert found["auto"] == by_system == found[scheme]


def test_the_skip_link_and_the_sections_are_reached(browser: Any) -> None:
    browser.switch_to.active_element.send_keys(Keys.TAB)
    first = browser.switch_to.active_element
    assert first.text == "Skip to the report"
    assert first.rect["y"] >= 0, "it is seen while it has the focus"
    first.send_keys(Keys.ENTER)
    assert browser.execute_script("return document.activeElement.id") == "main"
    targets = [link.get_attribute("href").partition("#")[2] for link in browser.find_elements(By.CSS_SELECTOR, "nav a")]
    sections = [one.get_attribute("id") for one in browser.find_elements(By.CSS_SELECTOR, "main > section")]
    assert sections == ["systems", *targets]
