from typing import Any

from tests.web.world import STAFF, Client, World, problem

NEW = {"rating": 4, "title": " Good ", "body": "Fits.", "author": "Ada"}
VOTER = "v" * 22


async def written(client: Client, world: World, **fields: Any) -> dict[str, Any]:
    """A review of a tote."""
    if await world.actors.owner("sku", "TOTE") is None:
        await world.product()
    answer = await client.post("/api/v1/products/product-TOTE/reviews", json={**NEW, **fields})
    assert answer.status == 201, await answer.text()
    review: dict[str, Any] = await answer.json()
    assert answer.headers["Location"] == f"/api/v1/reviews/{review['id']}"
    shown = await world.actors.read("review", review["id"])
    assert shown is not None
    world.reviews.items.append(shown.value)
    return review


async def published(client: Client, world: World) -> str:
    id: str = (await written(client, world))["id"]
    answer = await client.patch(f"/api/v1/reviews/{id}", json={"status": "published"}, headers=STAFF)
    assert (await answer.json())["status"] == "published"
    return id


async def paid_order(client: Client, world: World) -> str:
    """The id of a paid order of a tote."""
    await world.product()
    cart = await (await client.post("/api/v1/carts", json={})).json()
    await client.post(f"/api/v1/carts/{cart['id']}/lines", json={"sku": "TOTE"})
    address = {"name": "Ada", "line1": "12 Mill Lane", "city": "Albany", "postal_code": "12207", "country": "US"}
    patch = {"email": "ada@example.com", "shipping_method": "standard", "shipping_address": address}
    cart = await (await client.patch(f"/api/v1/carts/{cart['id']}", json=patch)).json()
    payment = {"gateway": "sandbox", "method": "ok"}
    order = {"cart_id": cart["id"], "cart_version": cart["version"], "payment": payment}
    made = await (await client.post("/api/v1/orders", json=order)).json()
    assert made["payment_status"] == "paid"
    id: str = made["id"]
    return id


async def test_a_review_waits_and_its_author_sees_it(client: Client, world: World) -> None:
    review = await written(client, world)
    assert (review["status"], review["verified"], review["author"], review["title"]) == (
        *("pending", False, "Ada", "Good"),
    )
    assert (review["language"], review["reason"]) == ("en", None)
    shown = await client.get(f"/api/v1/reviews/{review['id']}")
    assert await shown.json() == review
    assert shown.headers["ETag"] == '"1"'
    again = await client.get(f"/api/v1/reviews/{review['id']}", headers={"If-None-Match": '"1"'})
    assert again.status == 304


async def test_one_who_bought_it_is_a_verified_buyer_once(client: Client, world: World) -> None:
    order = await paid_order(client, world)
    assert (await written(client, world, order=order))["verified"]
    second = await client.post("/api/v1/products/product-TOTE/reviews", json={**NEW, "order": order})
    await problem(second, 409, "taken")


async def test_an_order_that_proves_nothing_is_refused(client: Client, world: World) -> None:
    order = await paid_order(client, world)
    await world.product("MUG")
    for product, given in (("product-TOTE", "no-such-order"), ("product-MUG", order)):
        answer = await client.post(f"/api/v1/products/{product}/reviews", json={**NEW, "order": given})
        document = await problem(answer, 422, "invalid")
        assert document["errors"][0]["pointer"] == "/order"


async def test_what_can_not_be_a_review_is_refused(client: Client, world: World) -> None:
    await world.product()
    await world.product("DRAFT", status="draft")
    url = "/api/v1/products/product-TOTE/reviews"
    for fields in ({"rating": 6}, {"author": "  "}, {"language": "!!"}, {"title": "a\nb"}, {"stars": 5}):
        await problem(await client.post(url, json={**NEW, **fields}), 422, "invalid")
    await problem(await client.post("/api/v1/products/none/reviews", json=NEW), 404, "not_found")
    await problem(await client.post("/api/v1/products/product-DRAFT/reviews", json=NEW), 404, "not_found")


async def test_the_same_key_is_the_same_review(client: Client, world: World) -> None:
    await world.product()
    url, headers = "/api/v1/products/product-TOTE/reviews", {"Idempotency-Key": "k" * 22}
    first = await client.post(url, json=NEW, headers=headers)
    again = await client.post(url, json=NEW, headers=headers)
    assert await first.json() == await again.json()
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_staff_judge_and_answer(client: Client, world: World) -> None:
    id = (await written(client, world))["id"]
    url = f"/api/v1/reviews/{id}"
    await problem(await client.patch(url, json={"status": "published"}), 401, "credentials_required")
    stale = await client.patch(url, json={"status": "published"}, headers={**STAFF, "If-Match": '"7"'})
    await problem(stale, 412, "version_mismatch")
    judged = await client.patch(url, json={"status": "rejected", "reason": "spam", "answer": "No."}, headers=STAFF)
    assert [(await judged.json())[name] for name in ("status", "reason", "answer")] == ["rejected", "spam", "No."]
    assert (await (await client.get(url)).json())["reason"] is None
    await problem(await client.patch("/api/v1/reviews/none", json={}, headers=STAFF), 404, "not_found")


async def test_a_list_has_the_ratings_and_asks_for_what_is_published(client: Client, world: World) -> None:
    await published(client, world)
    answer = await client.get("/api/v1/products/handle-of-tote/reviews?rating=4&sort=helpful&language=EN")
    listed = await answer.json()
    assert [item["author"] for item in listed["items"]] == ["Ada"]
    assert (listed["ratings"]["count"], listed["ratings"]["average"]) == (1, "4.0")
    (filters,) = world.reviews.asked
    assert (filters.product, filters.status, filters.rating, filters.sort, filters.language) == (
        *("product-TOTE", "published", 4, "helpful", "en"),
    )


async def test_what_waits_is_for_staff(client: Client, world: World) -> None:
    await world.product()
    await problem(await client.get("/api/v1/reviews?status=pending"), 401, "credentials_required")
    hidden = await client.get("/api/v1/products/product-TOTE/reviews?status=any")
    await problem(hidden, 401, "credentials_required")
    assert (await client.get("/api/v1/reviews?status=any", headers=STAFF)).status == 200
    assert world.reviews.asked[-1].status is None
    broken = await client.get("/api/v1/reviews?cursor=x", headers=STAFF)
    await problem(broken, 400, "malformed_cursor")


async def test_votes_count_once_a_voter(client: Client, world: World) -> None:
    id = await published(client, world)
    url = f"/api/v1/reviews/{id}/votes"
    for helpful, counts in ((True, (1, 0)), (True, (1, 0)), (False, (0, 1)), (None, (0, 0))):
        voted = await (await client.post(url, json={"voter": VOTER, "helpful": helpful})).json()
        assert (voted["helpful"], voted["unhelpful"]) == counts
    await problem(await client.post(url, json={"voter": "short", "helpful": True}), 422, "invalid")
    assert all(VOTER not in str(command) for *_, command, _, _ in world.actors.asked)


async def test_only_what_is_published_is_voted_on(client: Client, world: World) -> None:
    id = (await written(client, world))["id"]
    answer = await client.post(f"/api/v1/reviews/{id}/votes", json={"voter": VOTER, "helpful": True})
    await problem(answer, 404, "not_found")
