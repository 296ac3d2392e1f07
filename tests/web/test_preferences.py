from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from tests.web.world import Client, problem
from web.preferences import expected_version, languages, preferences, text_in, wait_seconds

TEXT = {"en": "Shirt", "de": "Hemd", "pt-br": "Camisa"}


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ("de", "Hemd"),
        ("de-CH, en;q=0.9", "Hemd"),
        ("pt", "Camisa"),
        ("fr, de;q=0.8, en;q=0.9", "Shirt"),
        ("de;q=0, en", "Shirt"),
        ("*", "Shirt"),
        ("fr", "Shirt"),
        ("", "Shirt"),
        (";;,,;q=", "Shirt"),
        ("x" * 5000, "Shirt"),
    ],
)
def test_a_text_is_in_the_language_that_is_wanted_most(wanted: str, text: str) -> None:
    request = make_mocked_request("GET", "/", headers={"Accept-Language": wanted})
    assert text_in(TEXT, languages(request), "en") == text


def test_a_text_without_the_fallback_is_in_any_language() -> None:
    assert text_in({"de": "Hemd", "fr": "Chemise"}, (), "en") == "Hemd"
    assert text_in({}, ("de",), "en") == ""


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("wait=7", 7), ("wait=99", 10), ("Wait=0, respond-async", 0), ("wait=-1", 4), ("wait=x", 4), ("", 4), ("wait", 4)],
)
def test_the_wait_is_bounded(header: str, seconds: float) -> None:
    assert wait_seconds(make_mocked_request("POST", "/", headers={"Prefer": header})) == seconds


def test_the_first_of_repeated_preferences_counts() -> None:
    request = make_mocked_request("GET", "/", headers={"Prefer": 'wait=1; x, consistency="a.1@2", wait=2'})
    assert preferences(request) == {"wait": "1", "consistency": "a.1@2"}


@pytest.mark.parametrize(
    ("header", "version"),
    [("*", None), ('"0"', 0), ('"7"', 7), ('"07"', -1), ('W/"7"', -1), ('"seven"', -1), ('"' + "9" * 30 + '"', -1)],
)
def test_only_an_etag_of_ours_names_a_version(header: str, version: int | None) -> None:
    assert expected_version(make_mocked_request("PATCH", "/", headers={"If-Match": header})) == version


@pytest.mark.parametrize("etag", ['W/"3"', '"foreign"'])
async def test_an_etag_that_is_none_of_ours_is_told_in_words(client: Client, cart: dict[str, Any], etag: str) -> None:
    answer = await client.patch(f"/api/v1/carts/{cart['id']}", json={}, headers={"If-Match": etag})
    document = await problem(answer, 412, "version_mismatch")
    assert document["detail"] == (
        "This is version 3, and the ETag that came is none of its own: read it again and repeat the change."
    )
