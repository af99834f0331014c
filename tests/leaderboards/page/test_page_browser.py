"""The page in headless Chromium: what a reader, a keyboard and hostile text can do with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hostile_run import ASR, HOSTILE, METHOD, QUESTIONS, SAMPLES, write_run

from greaves.leaderboards.page import write_page

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install selenium")
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
]
SECONDS = 20


class Reader:
    """A browser with the page open."""

    def __init__(self, driver: Any, page: Path) -> None:
        self.driver, self.page = driver, page

    def open(self, *, width: int = 1280, dark: bool = False) -> None:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.get(self.page.as_uri())
        self.until("return document.documentElement.hasAttribute('data-ready')")

    def until(self, script: str, *arguments: object) -> Any:
        return WebDriverWait(self.driver, SECONDS, poll_frequency=0.05).until(
            lambda driver: driver.execute_script(script, *arguments)
        )

    def ask(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def one(self, css: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def texts(self, css: str) -> list[str]:
        return [found.text for found in self.all(css)]

    def column(self, title: str) -> WebElement:
        return next(one for one in self.all("#results thead button") if one.text.startswith(title))

    def press(self, *keys: str) -> None:
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self) -> WebElement:
        return self.driver.switch_to.active_element

    def read(self, *, accept: bool = True) -> None:
        self.one("#results td button").click()
        if accept:
            self.one("#accept").click()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    found = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    chromium, driver = next(filter(None, found), None), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("needs Chromium: apt-get install chromium chromium-driver")
    folder = tmp_path_factory.mktemp("browser")
    page = write_page(write_run(folder / "run"), folder / "page.html")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield Reader(chrome, page)
    finally:
        chrome.quit()


@pytest.fixture
def reader(browser: Reader) -> Iterator[Reader]:
    """The page freshly opened; whatever a test does, nothing is fetched and nothing complains."""
    for log in ("browser", "performance"):
        browser.driver.get_log(log)
    browser.open()
    yield browser
    assert [one["message"] for one in browser.driver.get_log("browser")] == []
    events = [
        json.loads(one["message"])["message"] for one in browser.driver.get_log("performance")
    ]
    asked = {
        one["params"]["request"]["url"]
        for one in events
        if one["method"] == "Network.requestWillBeSent"
        and one["params"]["documentURL"] == browser.page.as_uri()
    }
    assert {url for url in asked if not url.startswith("data:")} == {browser.page.as_uri()}
    assert browser.ask("return window.broken") is None


def methods(reader: Reader) -> list[str]:
    return reader.texts("#results tbody th")


def test_columns_sort_by_number_in_both_directions(reader: Reader) -> None:
    reader.column("ASR audio-text").click()
    assert methods(reader) == ["rrs", "vanilla", METHOD]
    reader.column("ASR audio-text").click()
    assert methods(reader) == [METHOD, "vanilla", "rrs"]
    assert reader.one("#results th[aria-sort=descending]").text.startswith("ASR audio-text")


def test_bold_marks_the_best_of_a_column(reader: Reader) -> None:
    assert (
        reader.ask(
            "return [...document.querySelectorAll('#results tbody tr')]"
            ".find(row => row.cells[1].querySelector('.best')).cells[0].textContent"
        )
        == "rrs"
    )


def test_what_has_no_number_stays_last(reader: Reader) -> None:
    for _ in range(2):
        reader.column("NSI audio-text").click()
        assert methods(reader)[-1] == "vanilla"


def test_filters_thin_table_plots_and_categories(reader: Reader) -> None:
    Select(reader.one("#filter-method")).select_by_visible_text("rrs")
    assert methods(reader) == ["rrs"]
    assert reader.texts("#categories thead th") == ["Category", "rrs"]
    reader.until("return document.querySelectorAll('#nsi .mark-symbol path').length === 3")
    Select(reader.one("#filter-judge")).select_by_visible_text("other@2")
    assert [one for one in reader.texts("#results thead th") if "rules@1" in one] == []
    Select(reader.one("#filter-task")).select_by_visible_text("aiah-over-rejection")
    assert reader.one("#none").is_displayed()
    assert not reader.one("#trade-off-section").is_displayed()


def test_columns_can_be_left_out(reader: Reader) -> None:
    before = len(reader.all("#results thead th"))
    reader.one("#chooser summary").click()
    reader.one("#chooser input").click()
    assert len(reader.all("#results thead th")) == before - 1
    reader.press(Keys.ESCAPE)
    assert reader.one("#chooser").get_attribute("open") is None


def test_harmful_content_waits_for_the_reader_to_accept_once(reader: Reader) -> None:
    reader.read(accept=False)
    assert reader.one("#warning").is_displayed()
    assert reader.all("#questions article") == []
    reader.one("#decline").click()
    assert not reader.one("#reader").is_displayed()
    reader.read()
    assert reader.one("#questions article").is_displayed()
    reader.press(Keys.ESCAPE)
    reader.until("return document.querySelectorAll('#questions article').length === 0")
    reader.read(accept=False)
    assert not reader.one("#warning").is_displayed()


def test_benign_questions_need_no_warning(reader: Reader) -> None:
    reader.one("#results td button[title^=ORR]").click()
    assert not reader.one("#warning").is_displayed()
    assert reader.one("#questions article").is_displayed()


def test_a_cell_shows_its_questions_responses_and_verdicts(reader: Reader) -> None:
    reader.read()
    assert len(reader.all("#questions article")) == QUESTIONS
    first = reader.one("#questions article")
    assert "Question 0?" in first.text
    assert "Answer <u>this</u>." in first.text
    assert len(first.find_elements(By.CSS_SELECTOR, "li")) == SAMPLES
    assert first.find_element(By.CSS_SELECTOR, ".verdict b").text == "harmful"
    assert f"because of {HOSTILE[0]}" in first.text
    Select(reader.one("#only-outcome")).select_by_visible_text("refused")
    assert reader.one("#reader-count").text == f"11 of {QUESTIONS} questions"


def test_a_category_opens_only_its_questions(reader: Reader) -> None:
    reader.one("#categories td button[title*='theft']").click()
    reader.one("#accept").click()
    assert reader.one("#reader-count").text == f"10 of {QUESTIONS} questions"
    assert all("theft" in text for text in reader.texts("#questions article > .quiet"))


def test_hostile_text_stays_text(reader: Reader) -> None:
    reader.read()
    said = reader.ask(
        "return [...document.querySelectorAll('article .said')].slice(0, 5).map(e => e.textContent)"
    )
    assert said[:3] == list(HOSTILE[:3])
    assert said[3] == ("⟨U+001B⟩[31mred⟨U+001B⟩[0m and ⟨U+202E⟩gnorw⟨U+202C⟩ and ⟨U+2028⟩ a line")
    assert said[4] == HOSTILE[4]
    assert reader.all("main img, dialog img, main b[onclick], h1 i, article u, main s") == []
    assert len(reader.all("script")) == 4
    assert reader.one("#name").text == "<i>demo</i>"


def test_a_clip_plays(reader: Reader) -> None:
    reader.read()
    reader.ask("return document.querySelector('audio').play()")
    reader.until("return document.querySelector('audio').currentTime > 0")
    assert reader.ask("return document.querySelector('audio').error") is None


def test_the_keyboard_is_enough(reader: Reader) -> None:
    reader.ask("document.querySelector('#chooser summary').focus()")
    reader.press(Keys.TAB)
    assert reader.focused().text.startswith("Method")
    reader.press(Keys.TAB, Keys.ENTER)
    assert methods(reader)[0] == "rrs"
    assert reader.focused().text.startswith("ASR")  # sorting keeps the place
    assert reader.ask("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    reader.ask("document.querySelector('#results td button').focus()")
    reader.press(Keys.ENTER)
    assert reader.focused().get_attribute("id") == "accept"
    reader.press(Keys.ENTER)
    assert reader.one("#questions article").is_displayed()
    reader.press(Keys.ESCAPE)
    assert not reader.one("#reader").is_displayed()
    assert reader.focused().get_attribute("title").startswith("ASR")


def test_both_plots_are_drawn_with_every_method(reader: Reader) -> None:
    for plot in ("trade-off", "nsi"):
        assert reader.one(f"#{plot} svg").is_displayed()
    legend = reader.texts("#trade-off svg .role-legend-label text")
    assert all(any(method.startswith(text.rstrip("…")) for text in legend) for method in ASR)
    assert len(legend) == len(ASR)


def test_a_point_tells_its_numbers_as_text(reader: Reader) -> None:
    point = reader.one("#trade-off svg .mark-symbol.role-mark path[aria-label*='broken']")
    webdriver.ActionChains(reader.driver).move_to_element(point).perform()
    reader.until("return document.querySelector('#vg-tooltip-element.visible') !== null")
    told = reader.one("#vg-tooltip-element").text
    assert METHOD in told
    assert "100.0" in told


def test_a_phone_shows_it_all_without_scrolling_sideways(reader: Reader) -> None:
    reader.open(width=390)
    assert reader.ask("return document.documentElement.scrollWidth") <= 390
    assert reader.ask("return document.querySelector('#trade-off svg').clientWidth") <= 390
    reader.read()
    assert reader.ask("return document.querySelector('#reader').scrollWidth") <= 390


def test_dark_and_light_follow_the_system(reader: Reader) -> None:
    background = "return getComputedStyle(document.body).backgroundColor"
    light = reader.ask(background)
    reader.open(dark=True)
    assert reader.ask(background) != light
    words = "return document.querySelector('#trade-off svg .role-legend-label text').getAttribute"
    assert reader.ask(f"{words}('fill')") == "#e6e9ed"


def test_the_policy_holds_in_the_browser(browser: Reader) -> None:
    browser.open()
    refused = browser.driver.execute_async_script(
        "const done = arguments[0]; fetch('data:,x').then(() => done(false), () => done(true))"
    )
    browser.ask("document.body.insertAdjacentHTML('beforeend', arguments[0])", HOSTILE[1])
    assert refused
    assert browser.ask("return window.broken") is None
    complaints = [one["message"] for one in browser.driver.get_log("browser")]
    assert any("Content Security Policy" in one for one in complaints)
