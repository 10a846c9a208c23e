"""The dashboard in a real browser: it follows the store, and the reader does not lose the place."""

from __future__ import annotations

import json
import re

import pytest
from programs import in_pipe
from seeding import ENVIRONMENT, complete, plan
from studied import study

from emabench.records import CostReading
from emabench.store import RunStore

pytestmark = pytest.mark.external


def seen(locator):
    """Wait until what is expected of a part of the page is true."""
    # Here, so that collecting the tests does not need the extra 'browser'.
    from playwright.sync_api import expect

    expect.set_options(timeout=60_000)
    return expect(locator)


@pytest.fixture
def store(folder):
    with RunStore.open("results.db", mode="write") as opened:
        yield opened


@pytest.fixture
def address(store):
    """A dashboard of the store, in a process of its own."""
    with in_pipe("dashboard", "--port", "0", "--interval", "0.5", "--json") as program:
        program.wait_for("}")
        yield json.loads(program.text)["url"]


def test_it_follows_the_store_and_keeps_the_place(store, address, open_page):
    watched = open_page(address)
    page = watched.page
    assert "nothing to compare" in page.locator("#problem").inner_text()
    study(store, arms=3, seeds=2)
    seen(page.locator("#runs tbody tr")).to_have_count(6)
    page.locator("#arms thead button").nth(1).click()
    page.locator("#runs tbody tr[data-key]", has_text="none").first.click()
    hidden = page.locator("#runs details.run[open]").get_attribute("id")
    page.fill('input[data-filters="runs"]', "projector")
    page.locator("#runs tbody tr[data-key]:not([hidden])").first.click()
    opened = page.locator("#runs tr:not([hidden]) details.run[open]").get_attribute("id")
    page.locator("#columns-arms summary").click()
    page.locator("#columns-arms label", has_text="seeds").locator("input").check()
    page.locator('input[data-filters="runs"]').focus()
    page.keyboard.type(" done")
    complete(store, plan(method="moco", ema_scope="layer4", seed=0))
    seen(page.locator("#runs tbody tr[data-key]")).to_have_count(7)
    assert page.input_value('input[data-filters="runs"]') == "projector done"
    assert page.locator("#runs tbody tr[data-key]:not([hidden])").count() == 2
    assert page.locator(f"#{hidden}[open]").is_hidden()
    assert page.locator("#arms th[aria-sort=ascending]").count() == 1
    assert page.locator(f"#runs #{opened}[open] .run-curves svg").count() >= 2
    assert page.locator("#arms th:visible", has_text="seeds").count() == 1
    assert page.evaluate("document.activeElement.dataset.filters") == "runs"
    assert page.locator(".plot svg[tabindex]").count() >= 4
    page.evaluate(f"location.hash = '{hidden}'")
    seen(page.locator(f"#{hidden}[open]")).to_be_visible()
    assert page.input_value('input[data-filters="runs"]') == ""
    assert watched.messages == []
    assert {request.partition("?")[0] for request in watched.requests} == {address}


def test_it_shows_what_runs_while_it_runs(store, address, open_page):
    page = open_page(address).page
    run = store.add_run(plan(method="byol", ema_scope="full"))
    claim = store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)
    seen(page.locator("#queue")).to_contain_text(run.pretrain_job)
    assert "1 running, 1 queued" in page.locator("#queue").inner_text()
    store.queue.finish(claim, results={"online_top1": 1.0}, cost=CostReading(total_s=1.0))
    seen(page.locator("#queue")).to_contain_text("0 running")


def test_it_says_when_it_is_not_up_to_date(store, open_page):
    study(store, arms=2, seeds=1)
    with in_pipe("dashboard", "--port", "0", "--interval", "0.5", "--json") as program:
        program.wait_for("}")
        page = open_page(json.loads(program.text)["url"]).page
        seen(page.locator("[data-live]")).to_have_text(re.compile("^up to date"))
    seen(page.locator("[data-live]")).to_have_text(re.compile("^not up to date"))
    assert page.locator("#arms tbody tr").count() == 2


def test_a_token_opens_it_once_and_for_all(store, open_page):
    study(store, arms=2, seeds=1)
    token = "f00dfacef00dface"
    with in_pipe(
        "dashboard", "--port", "0", "--token", token, "--interval", "0.5", "--json"
    ) as one:
        one.wait_for("}")
        address = json.loads(one.text)["url"]
        assert "token is missing" in open_page(address).page.locator("body").inner_text()
        page = open_page(f"{address}?token={token}").page
        assert page.url == address
        seen(page.locator("[data-live]")).to_have_text(re.compile("^up to date"))
