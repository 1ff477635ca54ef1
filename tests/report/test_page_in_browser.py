"""The page in a real browser: points show curves, tables sort, nothing complains, phones fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antifragile.report.page.page import write_report
from tests.report.browser import chromium, console, open_page
from tests.report.stored_studies import SHAPES, empty_source, made_source

pytestmark = pytest.mark.browser

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    return write_report(made_source(name=EVIL), path)


def run(driver: Any, script: str) -> Any:
    return driver.execute_script(script)


def column(driver: Any, table: str, place: int) -> list[str]:
    found = run(
        driver,
        f"return [...document.querySelectorAll('[data-table={table}] tbody tr')]"
        f".map((row) => row.cells[{place}].textContent)",
    )
    return [str(text) for text in found]


def click(driver: Any, selector: str) -> None:
    """A real click at the middle of an element."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    element = driver.find_element(By.CSS_SELECTOR, selector)
    run(driver, f"document.querySelector({selector!r}).scrollIntoView({{block: 'center'}})")
    ActionChains(driver).move_to_element(element).click().perform()


def press(driver: Any, *keys: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(driver).send_keys(*keys).perform()


def test_it_opens_without_a_word_on_the_console(driver: Any, page: Path) -> None:
    open_page(driver, page)
    assert console(driver) == []
    assert run(driver, "return document.querySelectorAll('#map [role=button]').length") == len(
        SHAPES
    )
    assert run(driver, "return performance.getEntriesByType('resource').length") == 0


def test_a_study_named_like_a_script_is_text(driver: Any, page: Path) -> None:
    open_page(driver, page)
    assert run(driver, "return document.querySelector('h1').textContent") == EVIL
    assert driver.title == f"{EVIL} - antifragile"
    assert run(driver, "return document.scripts.length") == 2


def test_a_click_on_a_point_shows_its_curves_and_trials(driver: Any, page: Path) -> None:
    open_page(driver, page)
    click(driver, "#map [role=button][data-place='3']")
    assert run(driver, "return AF.$('detail-heading').textContent").startswith("4*4, ")
    assert run(driver, "return document.querySelectorAll('#curves path.curve').length") == 6
    assert run(driver, "return document.querySelectorAll('#curves path.trial').length") == 18
    assert run(driver, "return document.querySelectorAll('#dots path.dot').length") == 18
    assert run(driver, "return document.querySelectorAll('#detail-table tbody tr').length") == 6
    assert run(driver, "return AF.$('architecture').value") == "3"
    click(driver, "#modes input[value=hidden]")
    assert run(driver, "return document.querySelectorAll('#curves path.curve').length") == 5
    assert console(driver) == []


def test_hovering_shows_numbers(driver: Any, page: Path) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    open_page(driver, page)
    point = driver.find_element(By.CSS_SELECTOR, "#map [role=button][data-place='1']")
    ActionChains(driver).move_to_element(point).perform()
    assert run(driver, "return AF.$('tip').hidden") is False
    assert run(driver, "return AF.$('tip').textContent").startswith("1*16")
    assert "(n = 3)" in run(driver, "return AF.$('tip').textContent")


def test_the_map_is_walked_and_chosen_by_keys(driver: Any, page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    open_page(driver, page)
    run(driver, "document.querySelector('#map [tabindex=\"0\"]').focus()")
    press(driver, Keys.ARROW_DOWN)
    focused = "return document.activeElement.getAttribute('aria-label')"
    assert run(driver, focused).startswith("1*16: Regime")
    press(driver, Keys.ARROW_RIGHT)
    assert run(driver, focused).startswith("2*16: Regime")
    press(driver, Keys.ENTER)
    assert run(driver, "return AF.$('detail-heading').textContent").startswith("2*16, ")


def test_tables_sort_by_number_and_by_name_and_filter(driver: Any, page: Path) -> None:
    open_page(driver, page)
    assert column(driver, "means", 0) == list(SHAPES)
    click(driver, "[data-table=means] th:nth-child(2) button")
    numbers = [float(text.split()[0]) for text in column(driver, "means", 1)]
    assert numbers == sorted(numbers)
    click(driver, "[data-table=means] th:nth-child(2) button")
    numbers = [float(text.split()[0]) for text in column(driver, "means", 1)]
    assert numbers == sorted(numbers, reverse=True)
    click(driver, "[data-table=means] th:nth-child(1) button")
    assert column(driver, "means", 0)[:3] == ["[2*8, 1*4]", "1*16", "1*256"]
    sort = "return document.querySelector('[data-table=means] th').getAttribute('aria-sort')"
    assert run(driver, sort) == "ascending"
    click(driver, "[data-filter=means]")
    press(driver, "16*16")
    shown = "return document.querySelectorAll('[data-table=means] tbody tr:not([hidden])').length"
    assert run(driver, shown) == 1


def test_colours_and_measures_can_be_chosen(driver: Any, page: Path) -> None:
    open_page(driver, page)
    layers = run(driver, "return [...AF.$('layer').options].map((option) => option.value)")
    assert {"regime", "winner_by_mean", "ablation_effect", "parameters", "mean-none"} <= set(layers)
    for place in range(3):
        for layer in layers:
            run(
                driver,
                f"AF.$('measure').value = '{place}';"
                "AF.$('measure').dispatchEvent(new Event('change'));"
                f"AF.$('layer').value = '{layer}';"
                "AF.$('layer').dispatchEvent(new Event('change'));",
            )
            texts = run(driver, "return document.body.innerText")
            assert not {"NaN", "undefined"} & set(texts.split()), layer
    assert console(driver) == []


@pytest.mark.parametrize("phone", [False, True], ids=["desk", "phone"])
def test_nothing_is_wider_than_the_screen(driver: Any, page: Path, phone: bool) -> None:
    open_page(driver, page, phone=phone)
    for details in ("", "document.querySelectorAll('details').forEach((d) => (d.open = true));"):
        run(driver, details)
        wide, room = run(driver, "return [document.documentElement.scrollWidth, innerWidth]")
        assert wide <= room
    assert run(driver, "return innerWidth") == (375 if phone else 1360)


def test_a_comparison_shows_both(driver: Any, tmp_path: Path) -> None:
    sources = [made_source(SHAPES[:4], name=name, trials=n) for name, n in (("a", 3), ("b", 2))]
    open_page(driver, write_report(sources[0], tmp_path / "compare.html", other=sources[1]))
    assert run(driver, "return document.querySelectorAll('#scatter path.dot').length") == 24
    assert run(driver, "return document.querySelectorAll('#dots circle.other').length") == 12
    layers = run(driver, "return [...AF.$('layer').options].map((option) => option.value)")
    assert "difference-none" in layers
    assert console(driver) == []


def test_unusual_studies_open_without_errors(driver: Any, tmp_path: Path) -> None:
    sources = {
        "empty": empty_source(),
        "single": made_source(SHAPES[:2], trials=1, meta_loops=1),
        "failed": made_source(("32*32",)),
        "zero": made_source(SHAPES[:2], level=0.0),
        "against empty": made_source(SHAPES[:2]),
    }
    for name, source in sources.items():
        other = empty_source() if name == "against empty" else None
        open_page(driver, write_report(source, tmp_path / f"{name}.html", other=other))
        assert console(driver) == [], name
        assert "NaN" not in run(driver, "return document.body.innerText"), name
