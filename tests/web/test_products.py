from typing import Any

import pytest

from tests.web.world import STAFF, Client, World, problem
from ultramarket.messages.product import ChangeProduct
from ultramarket.views.products import FoundProduct
from web.api import products

URL = "/api/v1/products"
SHIRT: dict[str, Any] = {
    "title": "Crème Brûlée Shirt",
    "description": "<p onclick='x()'>Soft<script>alert(1)</script></p>",
    "status": "published",
    "options": [{"name": "Size", "values": ["S", "M"]}],
    "media": [{"url": "https://example.com/shirt.jpg", "alt": "A shirt"}],
    "variants": [
        {
            "sku": f"SHIRT-{size}",
            "options": {"Size": size},
            "price": {"amount": "12.9", "currency": "USD"},
            "prices": {"JPY": {"amount": "1900", "currency": "JPY"}},
            "compare_at_price": {"amount": "15.00", "currency": "USD"},
        }
        for size in ("S", "M")
    ],
}


async def made(client: Client, **changes: Any) -> dict[str, Any]:
    answer = await client.post(URL, json={**SHIRT, **changes}, headers=STAFF)
    assert answer.status == 201, await answer.text()
    product: dict[str, Any] = await answer.json()
    return product


async def test_a_product_is_made_with_a_handle_of_its_title_and_clean_html(client: Client) -> None:
    product = await made(client)
    assert product["handle"] == "creme-brulee-shirt"
    assert product["description"] == "<p>Soft</p>"
    assert product["variants"][0]["price"] == {"amount": "12.90", "currency": "USD"}
    assert product["variants"][0]["prices"]["JPY"] == {"amount": "1900", "currency": "JPY"}
    assert product["variants"][0]["compare_at_price"] == {"amount": "15.00", "currency": "USD"}


async def test_a_second_product_of_the_same_title_gets_another_handle(client: Client) -> None:
    await made(client)
    second = await made(client, variants=[], status="draft")
    assert second["handle"].startswith("creme-brulee-shirt-")


async def test_a_handle_that_is_made_gives_way_to_somebody_who_was_faster(client: Client, world: World) -> None:
    body = {"title": "Tee"}
    headers = {**STAFF, "Idempotency-Key": "k"}
    world.actors.before_ask = lambda: world.product(handle="tee")
    answer = await client.post(URL, json=body, headers=headers)
    assert answer.status == 201
    assert (await answer.json())["handle"].startswith("tee-")
    again = await client.post(URL, json=body, headers=headers)
    assert (await again.read(), again.headers["Idempotency-Replayed"]) == (await answer.read(), "true")


async def test_a_sku_that_is_taken_is_refused_whoever_makes_the_handle(client: Client) -> None:
    await made(client)
    await problem(await client.post(URL, json={**SHIRT, "title": "Other"}, headers=STAFF), 409, "taken")


async def test_a_handle_that_was_asked_for_and_is_taken_is_refused(client: Client) -> None:
    await made(client, handle="shirt")
    body = {"title": "Other", "handle": "shirt"}
    await problem(await client.post(URL, json=body, headers=STAFF), 409, "taken")


async def test_only_staff_keep_products(client: Client) -> None:
    product = await made(client)
    for method, url in (("POST", URL), ("PATCH", f"{URL}/{product['id']}"), ("DELETE", f"{URL}/{product['id']}")):
        await problem(await client.request(method, url, json={"title": "X"}), 401, "credentials_required")


async def test_another_products_id_is_no_handle(client: Client) -> None:
    first = await made(client)
    body = {"title": "Other", "handle": first["id"]}
    await problem(await client.post(URL, json=body, headers=STAFF), 409, "taken")
    second = await made(client, variants=[], status="draft")
    answer = await client.patch(f"{URL}/{second['id']}", json={"handle": first["id"]}, headers=STAFF)
    await problem(answer, 409, "taken")
    answer = await client.patch(f"{URL}/{second['id']}", json={"handle": second["id"]}, headers=STAFF)
    assert (await answer.json())["handle"] == second["id"]


async def test_a_product_is_found_by_id_and_handle(client: Client) -> None:
    product = await made(client)
    for ref in (product["id"], product["handle"]):
        answer = await client.get(f"{URL}/{ref}")
        assert (answer.status, (await answer.json())["id"], answer.headers["ETag"]) == (200, product["id"], '"1"')
    await problem(await client.get(f"{URL}/nothing"), 404, "not_found")


@pytest.mark.parametrize("status", ["draft", "archived"])
async def test_what_is_not_published_is_for_staff(client: Client, status: str) -> None:
    product = await made(client, status=status)
    await problem(await client.get(f"{URL}/{product['id']}"), 404, "not_found")
    assert (await client.get(f"{URL}/{product['id']}", headers=STAFF)).status == 200


async def test_a_string_sets_the_channels_language_and_leaves_the_others(client: Client) -> None:
    product = await made(client, title={"en": "Shirt", "de": "Hemd"}, handle="shirt")
    url = f"{URL}/{product['id']}"
    assert (await client.patch(url, json={"title": "Tee"}, headers=STAFF)).status == 200
    for language, title in (("en", "Tee"), ("de", "Hemd")):
        assert (await (await client.get(url, headers={"Accept-Language": language})).json())["title"] == title


async def test_a_mapping_adds_changes_and_removes_languages(client: Client) -> None:
    product = await made(client, title={"en": "Shirt", "de": "Hemd"}, handle="shirt")
    url = f"{URL}/{product['id']}"
    await client.patch(url, json={"title": {"de": None, "FR": "Chemise"}}, headers=STAFF)
    for language, title in (("de", "Shirt"), ("fr", "Chemise")):
        assert (await (await client.get(url, headers={"Accept-Language": language})).json())["title"] == title


async def test_null_clears_and_lists_are_replaced(client: Client) -> None:
    product = await made(client, vendor="Acme", tags=["a", "b"], seo={"title": "T"})
    patch = {"vendor": None, "description": None, "media": None, "seo": None, "tags": ["c"]}
    answer = await client.patch(f"{URL}/{product['id']}", json=patch, headers=STAFF)
    changed = await answer.json()
    assert (changed["vendor"], changed["description"], changed["media"], changed["tags"]) == ("", "", [], ["c"])
    assert changed["seo"] == {"title": "", "description": ""}
    assert changed["title"] == "Crème Brûlée Shirt"


async def test_a_merge_patch_may_say_so(client: Client) -> None:
    product = await made(client)
    headers = {**STAFF, "Content-Type": "application/merge-patch+json"}
    answer = await client.patch(f"{URL}/{product['id']}", data=b'{"vendor": "Acme"}', headers=headers)
    assert (await answer.json())["vendor"] == "Acme"


async def test_a_text_is_merged_anew_when_somebody_else_was_faster(client: Client, world: World) -> None:
    product = await made(client, title={"en": "Shirt"}, handle="shirt")
    world.actors.before_ask = lambda: world.actors.ask(
        "product", product["id"], ChangeProduct(title={"en": "A", "de": "B"})
    )
    url = f"{URL}/{product['id']}"
    answer = await client.patch(url, json={"title": "Tee"}, headers={**STAFF, "Idempotency-Key": "k"})
    assert answer.status == 200
    assert (await (await client.get(url, headers={"Accept-Language": "de"})).json())["title"] == "B"
    again = await client.patch(url, json={"title": "Tee"}, headers={**STAFF, "Idempotency-Key": "k"})
    assert (await again.read(), again.headers["Idempotency-Replayed"]) == (await answer.read(), "true")


async def test_a_product_that_never_rests_is_told_as_busy(
    client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "TRIES", 1)
    product = await made(client, title={"en": "Shirt"}, handle="shirt")
    world.actors.before_ask = lambda: world.actors.ask("product", product["id"], ChangeProduct(vendor="Acme"))
    answer = await client.patch(f"{URL}/shirt", json={"title": "Tee"}, headers=STAFF)
    await problem(answer, 503, "unavailable")
    assert answer.headers["Retry-After"] == "1"


async def test_if_match_guards_a_change_and_an_archiving(client: Client) -> None:
    product = await made(client)
    url = f"{URL}/{product['id']}"
    headers = {**STAFF, "If-Match": '"7"'}
    await problem(await client.patch(url, json={"title": "X"}, headers=headers), 412, "version_mismatch")
    await problem(await client.delete(url, headers=headers), 412, "version_mismatch")
    archived = await client.delete(url, headers={**STAFF, "If-Match": '"1"'})
    assert (archived.status, (await archived.json())["status"]) == (200, "archived")


def priced(amount: str, currency: str) -> dict[str, Any]:
    return {"title": "T", "variants": [{"sku": "A", "price": {"amount": amount, "currency": currency}}]}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/title"),
        ({"title": ""}, "/title"),
        ({"title": {"not a tag": "x"}}, "/title"),
        ({"title": "T", "status": "published"}, "/variants"),
        (
            {"title": "T", "variants": [{"sku": "A", "price": {"amount": "-1", "currency": "USD"}}]},
            "/variants/0/price/amount",
        ),
        (
            {"title": "T", "variants": [{"sku": "A", "price": {"amount": "1\n", "currency": "USD"}}]},
            "/variants/0/price/amount",
        ),
        (
            {"title": "T", "variants": [{"sku": "A", "price": {"amount": "1.999", "currency": "USD"}}]},
            "/variants/0/price",
        ),
        (
            {"title": "T", "variants": [{"sku": "A", "price": {"amount": "1e5", "currency": "USD"}}]},
            "/variants/0/price/amount",
        ),
        (
            {"title": "T", "variants": [{"sku": "A", "price": {"amount": "9" * 20, "currency": "USD"}}]},
            "/variants/0/price",
        ),
        (priced("1", "XXX"), "/variants/0/price"),
        ({"title": "T", "media": [{"url": "javascript:alert(1)"}]}, "/media/0/url"),
        ({"title": "T", "media": [{"url": "//evil.example"}]}, "/media/0/url"),
    ],
)
async def test_a_product_that_can_not_be_is_refused(client: Client, body: dict[str, Any], pointer: str) -> None:
    document = await problem(await client.post(URL, json=body, headers=STAFF), 422, "invalid")
    assert pointer in [fault["pointer"] for fault in document["errors"]]


async def test_prices_stand_under_their_own_currency(client: Client) -> None:
    price = {"amount": "1", "currency": "USD"}
    for prices in ({"EUR": price}, {"USD": {"amount": "2", "currency": "USD"}}):
        body = {"title": "T", "variants": [{"sku": "A", "price": price, "prices": prices}]}
        await problem(await client.post(URL, json=body, headers=STAFF), 422, "invalid")


async def test_fields_select_what_is_shown(client: Client) -> None:
    product = await made(client)
    answer = await client.get(f"{URL}/{product['id']}?fields=id,variants.sku,variants.price.amount")
    assert await answer.json() == {
        "id": product["id"],
        "variants": [{"sku": f"SHIRT-{size}", "price": {"amount": "12.90"}} for size in ("S", "M")],
    }
    answer = await client.get(f"{URL}/{product['id']}?fields=variants.options.Size,variants.prices.USD.amount")
    assert (await answer.json())["variants"][0] == {"options": {"Size": "S"}, "prices": {"USD": {"amount": "12.90"}}}
    for fields in ("colour", "variants.colour", "id.x", "variants.options.", "variants.prices.USD.x", ""):
        answer = await client.get(f"{URL}/{product['id']}", params={"fields": fields})
        await problem(answer, 422, "invalid_parameter")


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "//evil.example/x",
        "/\\evil.example/x",
        "https://",
        "https://a/b c",
        "/x\ny",
        "data:,x",
        "x.svg",
    ],
)
async def test_an_address_of_a_picture_that_leads_astray_is_refused(client: Client, url: str) -> None:
    answer = await client.post(URL, json={"title": "T", "media": [{"url": url}]}, headers=STAFF)
    document = await problem(answer, 422, "invalid")
    assert document["errors"][0]["pointer"] == "/media/0/url"


async def test_a_description_that_is_too_long_is_refused_before_it_is_read(client: Client) -> None:
    answer = await client.post(URL, json={"title": "T", "description": "<ul><li>" * 100_000}, headers=STAFF)
    document = await problem(answer, 422, "invalid")
    assert document["errors"][0]["pointer"] == "/description"


async def test_a_list_passes_its_filters_to_the_view(client: Client, world: World) -> None:
    await world.product()
    answer = await client.get(
        f"{URL}?q=tote&category=bags&price_min=5&price_max=20.50&in_stock=true&option.Size=M&sort=-price&fields=handle,in_stock"
    )
    assert await answer.json() == {"items": [{"handle": "handle-of-tote", "in_stock": True}], "next": None}
    (filters,) = world.products.asked
    assert (filters.q, filters.category, filters.in_stock, filters.options) == ("tote", "bags", True, {"Size": ("M",)})
    assert (str(filters.price_min), str(filters.price_max), filters.currency) == ("5", "20.50", "USD")
    assert (filters.sort, filters.status) == ("-price", "published")


async def test_a_filter_may_be_given_several_values(client: Client, world: World) -> None:
    answer = await client.get(f"{URL}?vendor=Acme&vendor=Other&tag=new&type=Bag&option.Size=M&option.Size=L")
    assert answer.status == 200
    (filters,) = world.products.asked
    assert (filters.vendor, filters.tag, filters.type) == (("Acme", "Other"), ("new",), ("Bag",))
    assert filters.options == {"Size": ("M", "L")}


async def test_facets_and_highlights_are_shown_where_they_are_asked_for(client: Client, world: World) -> None:
    await world.product()
    found = world.products.items[0]
    world.products.items = [FoundProduct(found.product, in_stock=True, highlights={"title": "<mark>Tote</mark>"})]
    plain = await (await client.get(f"{URL}?q=tote")).json()
    assert "facets" not in plain
    assert "highlights" not in plain["items"][0]
    answer = await client.get(f"{URL}?q=tote&facets=price,option.Size&highlight=true&fields=highlights")
    assert await answer.json() == {
        "items": [{"highlights": {"title": "<mark>Tote</mark>"}}],
        "next": None,
        "facets": {
            "price": [{"value": "10-20", "count": 2, "min": "10", "below": "20"}],
            "option.Size": [{"value": "10-20", "count": 2, "min": "10", "below": "20"}],
        },
    }
    assert world.products.asked_for == (("price", "option.Size"), True)


async def test_words_are_in_the_language_of_the_reader(client: Client, world: World) -> None:
    await client.get(f"{URL}?q=tote", headers={"Accept-Language": "de"})
    await client.get(f"{URL}?q=tote")
    assert [filters.language for filters in world.products.asked] == ["de", "en"]


async def test_suggestions_are_products_and_texts(client: Client, world: World) -> None:
    id = await world.product()
    answer = await client.get(f"{URL}/suggestions?q=to&limit=3", headers={"Accept-Language": "de"})
    assert await answer.json() == {
        "products": [{"id": id, "handle": "handle-of-tote", "title": "Tasche TOTE"}],
        "completions": ["to and more"],
    }
    assert world.products.typed == ("to", "de", 3)
    await problem(await client.get(f"{URL}/suggestions"), 422, "invalid_parameter")


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("limit=0", 422, "invalid_parameter"),
        ("limit=101", 422, "invalid_parameter"),
        ("limit=ten", 422, "invalid_parameter"),
        ("limit=1&limit=2", 422, "invalid_parameter"),
        ("limit=99999999999999999999999", 422, "invalid_parameter"),
        ("price_min=NaN", 422, "invalid_parameter"),
        ("price_min=-1", 422, "invalid_parameter"),
        ("price_min=1e99999", 422, "invalid_parameter"),
        ("price_min=1e2", 422, "invalid_parameter"),
        ("price_min=1_000", 422, "invalid_parameter"),
        ("price_max=1.00000", 422, "invalid_parameter"),
        ("in_stock=maybe", 422, "invalid_parameter"),
        ("in_stock=null", 422, "invalid_parameter"),
        ("price_min=null", 422, "invalid_parameter"),
        ("option.Size=%00", 422, "invalid_parameter"),
        ("vendor=&vendor=b", 422, "invalid_parameter"),
        ("vendor=a" + "&vendor=a" * 20, 422, "invalid_parameter"),
        ("option.=M", 422, "invalid_parameter"),
        ("q=%FF", 422, "invalid_parameter"),
        ("q=%ED%A0%80", 422, "invalid_parameter"),
        ("sort=random", 422, "invalid_parameter"),
        ("q=%00", 422, "invalid_parameter"),
        ("q=", 422, "invalid_parameter"),
        ("colour=red", 422, "unknown_parameter"),
        ("cursor=broken", 400, "malformed_cursor"),
        ("cursor=%F0%9F%98%80", 400, "malformed_cursor"),
        ("status=draft", 401, "credentials_required"),
    ],
)
async def test_a_list_that_can_not_be_is_refused(client: Client, query: str, status: int, code: str) -> None:
    await problem(await client.get(f"{URL}?{query}"), status, code)


async def test_a_call_without_parameters_takes_none(client: Client, cart: dict[str, Any]) -> None:
    await problem(await client.get(f"/api/v1/carts/{cart['id']}?x=1"), 422, "unknown_parameter")


async def test_a_list_waits_for_a_write(client: Client, world: World) -> None:
    headers = {"Prefer": "wait=1, consistency=product.07@12"}
    assert (await client.get(URL, headers=headers)).status == 200
    assert world.products.waited == [("product", 7, 12)]


async def test_a_view_that_stays_behind_is_told(client: Client, world: World) -> None:
    world.products.shows = False
    answer = await client.get(URL, headers={"Prefer": "consistency=product.07@12"})
    await problem(answer, 503, "view_behind")
    assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize("token", ["", "product", "product.07", "product.x@1", "a b.1@1", "p.1@" + "9" * 30])
async def test_a_broken_token_is_refused(client: Client, token: str) -> None:
    answer = await client.get(URL, headers={"Prefer": f"consistency={token}"})
    await problem(answer, 400, "malformed_token")


async def test_the_front_page_shows_what_the_shop_has(client: Client, world: World) -> None:
    assert "shelves are empty" in await (await client.get("/")).text()
    await world.product(title={"en": "<b>Tote</b>"})
    answer = await client.get("/")
    text = await answer.text()
    assert "&lt;b&gt;Tote&lt;/b&gt;" in text
    assert 'src="/static/demo/tote.svg"' in text
    assert "<script" not in text
    assert "script-src" not in answer.headers["Content-Security-Policy"]
