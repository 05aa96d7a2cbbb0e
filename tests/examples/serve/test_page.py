"""The search page in a real browser: by keyboard, with filters, by its address, and when things go wrong."""

import signal
from urllib.parse import quote

import pytest
import requests
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

QUERY = "what causes kidney stones"
MODES = ("hybrid", "dense", "lexical")


class Look:
    """A browser and what is asked of its page."""

    def __init__(self, driver, eventually):
        self.driver = driver
        self.eventually = eventually

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector):
        """The text of the first element, in one go: elements come and go as the page draws itself anew."""
        script = "return document.querySelector(arguments[0])?.innerText ?? ''"
        return self.driver.execute_script(script, selector)

    def texts(self, selector):
        script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)"
        return self.driver.execute_script(script, selector)

    def press(self, *keys):
        """Press keys, whatever has the focus."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def focused(self):
        return self.driver.execute_script("return document.activeElement.id || document.activeElement.textContent")

    def settled(self):
        """Wait until a search has ended."""
        self.eventually(lambda: self.text("#status").startswith(("Found", "Nothing found")))

    def documents(self, mode):
        script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.dataset.document)"
        return self.driver.execute_script(script, f"#{mode} li")

    def complaints(self):
        """What the browser wrote to its console."""
        return [one["message"] for one in self.driver.get_log("browser")]


@pytest.fixture(scope="module")
def browsers(chromium):
    """One browser of each kind, since each takes seconds to start."""
    kinds = {}

    def give(width=1400, height=900, scheme="light"):
        kind = (width, height, scheme)
        if kind not in kinds:
            kinds[kind] = chromium(width, height, scheme=scheme)
        return kinds[kind]

    return give


@pytest.fixture
def look(browsers, eventually):
    """A browser of 1400 x 900; its console must stay empty."""
    found = Look(browsers(), eventually)
    found.complaints()
    yield found
    assert found.complaints() == []


def answer_of(server, **body):
    return requests.post(f"{server.url}/search/run", json=body, timeout=30).json()["result"]["documents"]


def test_search_by_keyboard_alone(look, server) -> None:
    look.driver.get(server.url)
    look.eventually(lambda: look.all(".filters input"))
    assert look.focused() == "query", "one can type at once"
    look.press(QUERY, Keys.ENTER)
    look.settled()
    for mode in MODES:
        assert look.documents(mode) == [one["document_id"] for one in answer_of(server, query=QUERY, mode=mode)]
        assert look.text(f"#{mode} .latency").endswith(" ms")
    assert look.driver.current_url.endswith("?q=what+causes+kidney+stones")
    assert QUERY in look.driver.title
    look.press(Keys.TAB, Keys.TAB)
    look.press("/")
    assert look.focused() == "query"
    assert look.driver.execute_script("return document.activeElement.value") == QUERY, "the / is not typed"


@pytest.mark.parametrize("field", ["__proto__", "constructor", "toString"])
def test_a_field_may_have_any_name(look, server, records, field) -> None:
    look.driver.get(f"{server.url}/?q=kidney&f.{field}=y")
    look.settled()
    assert look.text("#status") == "Nothing found."
    look.driver.get(f"{server.url}/document.html?q=kidney&f.{field}=y&id={quote(records[0].id)}")
    look.eventually(lambda: records[0].title in look.text("body"))


def test_an_address_without_a_word_searches_for_nothing(look, server) -> None:
    look.driver.get(f"{server.url}/?q=%20")
    look.eventually(lambda: look.all(".filters input"))
    assert look.text("#status") == ""
    assert not look.all(".fault")


def test_the_skip_link_leads_to_the_results(look, server) -> None:
    look.driver.get(f"{server.url}/?q=kidney")
    look.settled()
    look.press(Keys.TAB)
    assert look.focused() == "Skip to the results"
    skip = look.all(".skip")[0]
    assert skip.rect["y"] >= 0, "it is seen while it has the focus"
    look.press(Keys.ENTER)
    assert look.focused() == "results"
    look.press(Keys.TAB)
    first = look.driver.switch_to.active_element
    assert first.get_attribute("href").startswith(f"{server.url}/document.html")
    outline = first.value_of_css_property("outline-style"), first.value_of_css_property("outline-width")
    assert outline == ("solid", "3px"), "where the focus is can be seen"


def test_words_of_the_query_are_marked(look, server) -> None:
    look.driver.get(f"{server.url}/?q=What+causes+the+kidney+stone")
    look.settled()
    marks = {one.lower() for one in look.texts(".snippet mark")}
    assert {"kidney", "stones"} <= marks
    assert marks <= {"cause", "causes", "kidney", "kidneys", "stone", "stones"}


def test_filters_narrow_all_sides_and_live_in_the_address(look, server) -> None:
    look.driver.get(f"{server.url}/?q=treatment")
    look.settled()
    box = next(one for one in look.all(".filters label") if one.text.startswith("NINDS"))
    box.find_element(By.TAG_NAME, "input").send_keys(Keys.SPACE)
    look.eventually(lambda: "f.source=NINDS" in look.driver.current_url)
    look.settled()
    look.eventually(lambda: set(look.texts("#hybrid .facts span:nth-child(3)")) == {"NINDS"})
    filters = {"field": "meta.source", "operator": "in", "value": ["NINDS"]}
    for mode in MODES:
        expected = [one["document_id"] for one in answer_of(server, query="treatment", mode=mode, filters=filters)]
        assert look.documents(mode) == expected
    assert look.driver.switch_to.active_element.get_attribute("name") == "source", "the focus stays"
    look.driver.back()
    look.eventually(lambda: not look.all(".filters input:checked"))
    look.settled()
    assert "f.source" not in look.driver.current_url
    look.driver.forward()
    look.eventually(lambda: len(look.all(".filters input:checked")) == 1)
    look.settled()


def test_a_shared_address_gives_the_same_search(look, server) -> None:
    look.driver.get(f"{server.url}/?q=kidney&f.source=NIDDK&f.source=NHLBI")
    look.settled()
    assert look.driver.execute_script("return document.querySelector('#query').value") == "kidney"
    assert len(look.all(".filters input:checked")) == 2
    filters = {"field": "meta.source", "operator": "in", "value": ["NIDDK", "NHLBI"]}
    assert look.documents("hybrid") == [
        one["document_id"] for one in answer_of(server, query="kidney", filters=filters)
    ]


def test_a_document_opens_at_its_passage_and_leads_back(look, server, records) -> None:
    look.driver.get(f"{server.url}/?q=what+causes+kidney+stones&f.source=NIDDK")
    look.settled()
    first = answer_of(server, query=QUERY, filters={"field": "meta.source", "operator": "in", "value": ["NIDDK"]})[0]
    look.all("#hybrid li h3 a")[0].send_keys(Keys.ENTER)
    look.eventually(lambda: look.all(".passage"))
    assert "".join(look.texts(".passage")) == first["content"]
    record = next(one for one in records if one.id == first["document_id"])
    assert "".join("".join(look.texts(".text section > p:not(.place)")).split()) == "".join(record.text.split())
    assert look.text("main h1") == record.title
    assert look.all("main p a")[0].get_attribute("href") == record.meta["url"]
    top = look.driver.execute_script("return document.querySelector('#passage').getBoundingClientRect().top")
    assert 0 <= top < 900, "it is in view"
    look.all("#back")[0].send_keys(Keys.ENTER)
    look.settled()
    assert look.driver.current_url.endswith("?q=what+causes+kidney+stones&f.source=NIDDK")


def test_offsets_count_characters_not_code_units(look, server, records) -> None:
    odd = records[-1]
    start, end = odd.text.index("😀") + 2, odd.text.index("😀") + 12
    look.driver.get(f"{server.url}/document.html?" + requests.compat.urlencode({"id": odd.id, "at": f"{start}-{end}"}))
    look.eventually(lambda: look.all(".passage"))
    assert "".join(look.texts(".passage")) == odd.text[start:end]


def test_documents_stay_text(look, server, records) -> None:
    odd = records[-1]
    look.driver.get(f"{server.url}/?q=zebrafish+stripes")
    look.settled()
    assert odd.id in look.documents("lexical")
    title = next(one for one in look.texts("#lexical li h3") if "Zebrafish" in one)
    assert title == odd.title
    assert not look.all("#app script, #app img, #app i, #app u, #app b"), "nothing of it became an element"
    assert not look.all("a[href^='javascript']")
    look.driver.execute_script("document.querySelector('#lexical li h3 a').click()")
    look.eventually(lambda: look.text("main h1") == odd.title)
    assert not look.all("#app script, #app img, #app i, #app u, #app b, #app a[href^='javascript']")
    assert look.driver.title.startswith(odd.title)


def test_the_browser_refuses_html_from_scripts(look, server) -> None:
    look.driver.get(server.url)
    script = "try { document.body.innerHTML = '<b>x</b>'; return 'taken' } catch (error) { return error.name }"
    assert look.driver.execute_script(script) == "TypeError"
    assert any("TrustedHTML" in one for one in look.complaints())


def test_nothing_asked_and_nothing_found(look, server) -> None:
    look.driver.get(server.url)
    look.eventually(lambda: look.all(".welcome li a"))
    look.press("  ", Keys.ENTER)
    look.eventually(lambda: look.text("#status") == "Type a question first.")
    assert look.focused() == "query"
    look.driver.get(f"{server.url}/?q=kidney&f.source=nobody")
    look.settled()
    assert look.text("#results h1") == "Nothing found under these filters"
    look.all("#results button")[0].send_keys(Keys.ENTER)
    look.eventually(lambda: look.documents("hybrid"))
    look.driver.get(f"{server.url}/?q=qqqzzz")
    look.settled()
    assert look.text("#lexical .none") == "Nothing found this way."
    assert look.documents("dense"), "vectors always find something"


def test_an_unknown_document_says_so(browsers, eventually, server) -> None:
    look = Look(browsers(), eventually)
    look.driver.get(f"{server.url}/document.html?id=nobody")
    look.eventually(lambda: look.text("main h1") == "No such document")
    look.complaints()  # the browser notes the 404


def test_faults_are_told_and_can_be_tried_again(browsers, eventually, serve, proxy, served_index) -> None:
    look = Look(browsers(), eventually)
    with serve("--es", proxy.url, "--index", served_index) as running:
        look.driver.get(f"{running.url}/?q=kidney")
        look.settled()
        proxy.calm = False
        look.press("/")
        look.press(" stones", Keys.ENTER)
        look.eventually(lambda: look.text(".fault h2") == "Elasticsearch does not answer")
        assert look.all(".fault[role=alert]")
        proxy.calm = True
        look.all(".fault button")[0].send_keys(Keys.ENTER)
        look.settled()
        assert look.documents("hybrid")
        running.process.send_signal(signal.SIGINT)
        running.process.wait(30)
        look.press("/")
        look.press(" in children", Keys.ENTER)
        look.eventually(lambda: look.text(".fault h2") == "The search service is away")
    look.complaints()  # the browser notes requests that failed


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_accessible_and_not_too_wide(browsers, eventually, server, axe, width, scheme) -> None:
    look = Look(browsers(width, 900, scheme), eventually)
    passage = answer_of(server, query=QUERY)[0]
    place = requests.compat.urlencode(
        {"id": passage["document_id"], "at": f"{passage['start']}-{passage['end']}", "q": QUERY}
    )
    pages = {
        "": ".welcome",
        "?q=what+causes+kidney+stones&f.source=NIDDK": "#lexical li",
        "?q=zebrafish&f.source=nobody": "#results .clear",
        f"document.html?{place}": ".passage",
        "document.html?id=nobody": ".fault",
    }
    for path, awaited in pages.items():
        look.driver.get(f"{server.url}/{path}")
        look.eventually(lambda awaited=awaited: look.all(awaited))
        look.driver.execute_script("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        assert look.driver.execute_script("return document.documentElement.scrollWidth") <= width, path
        assert axe(look.driver) == [], path
