"""The rules of a collection as conditions on products: evaluated when asked, so that they follow the catalogue."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from ultramarket.messages.collection import Match, Rule
from ultramarket.views.folding import fold, storable
from ultramarket.views.pages import Conditions
from ultramarket.views.product_cards import option

SELLABLE = "(v.always or l.available > 0)"
_IN_STOCK = (
    "exists (select from product_variant v left join stock_level l on l.sku = v.sku "
    f"where v.product = c.id and {SELLABLE})"
)


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """What a collection chooses.

    Attributes:
        products: ids in their order, where it is made by hand.
        rules: what makes a product belong to it, where it is not.
        currency: that prices in the rules are in.
        categories: of each category that the rules name, the ids of it and of all below it.
    """

    products: tuple[str, ...] = ()
    match: Match = "all"
    rules: tuple[Rule, ...] = ()
    currency: str = ""
    categories: dict[str, tuple[str, ...]] = {}


def chosen_by(conditions: Conditions, chosen: Chosen) -> str:
    """The condition that a product `c` of the cards is one of the collection's; its values become parameters.

    Raises:
        ValueError: a text that the database can't take.
    """
    if not chosen.rules:
        return f"c.id = any({conditions.parameter(list(chosen.products))}::text[])"
    words = {"all": " and ", "any": " or "}[chosen.match]
    return "(" + words.join(_condition(conditions, rule, chosen) for rule in chosen.rules) + ")"


def by_hand(conditions: Conditions, chosen: Chosen) -> str:
    """The place of a product in the collection, as a value to sort by."""
    return f"array_position({conditions.parameter(list(chosen.products))}::text[], c.id)::numeric"


def _condition(conditions: Conditions, rule: Rule, chosen: Chosen) -> str:
    storable(rule.value, "rule")
    positive = _CONDITIONS[rule.field](conditions, rule, chosen)
    return f"not {positive}" if rule.relation == "is_not" else positive


def _text(column: str) -> Callable[[Conditions, Rule, Chosen], str]:
    def condition(conditions: Conditions, rule: Rule, chosen: Chosen) -> str:  # noqa: ARG001 - as the others
        return f"({column} {_compared(conditions, rule)})"

    return condition


def _compared(conditions: Conditions, rule: Rule) -> str:
    value = fold(rule.value)
    if rule.relation in ("is", "is_not"):
        return f"= {conditions.parameter(value)}::text"
    literal = value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    pattern = f"{literal}%" if rule.relation == "starts_with" else f"%{literal}%"
    return f"like {conditions.parameter(pattern)}::text"


def _tag(conditions: Conditions, rule: Rule, chosen: Chosen) -> str:  # noqa: ARG001 - as the others
    if rule.relation in ("is", "is_not"):
        return f"(c.tags @> array[{conditions.parameter(fold(rule.value))}::text])"
    return f"exists (select from unnest(c.tags) as tag where tag {_compared(conditions, rule)})"


def _category(conditions: Conditions, rule: Rule, chosen: Chosen) -> str:
    return f"(c.categories && {conditions.parameter(list(chosen.categories.get(rule.value, ())))}::text[])"


def _price(conditions: Conditions, rule: Rule, chosen: Chosen) -> str:
    """Any of its variants costs more, or less."""
    compared = "r.high >" if rule.relation == "above" else "r.low <"
    currency, amount = conditions.parameter(chosen.currency), conditions.parameter(Decimal(rule.value))
    return (
        "exists (select from product_price r "
        f"where r.product = c.id and r.currency = {currency} and {compared} {amount})"
    )


def _in_stock(conditions: Conditions, rule: Rule, chosen: Chosen) -> str:  # noqa: ARG001 - as the others
    return _IN_STOCK if rule.value == "true" else f"(not {_IN_STOCK})"


def _created(conditions: Conditions, rule: Rule, chosen: Chosen) -> str:  # noqa: ARG001 - as the others
    compared = ">" if rule.relation == "above" else "<"
    time = msgspec.convert(rule.value, datetime).astimezone(UTC)
    return f"(c.created_at {compared} {conditions.parameter(time)})"


def _option(conditions: Conditions, rule: Rule, chosen: Chosen) -> str:  # noqa: ARG001 - as the others
    name, _, value = rule.value.partition("=")
    pair = conditions.parameter([option(name, value)])
    return f"exists (select from product_variant v where v.product = c.id and v.options @> {pair}::text[])"


_CONDITIONS: dict[str, Callable[[Conditions, Rule, Chosen], str]] = {
    "title": _text("c.title"),
    "vendor": _text("c.vendor"),
    "type": _text("c.type"),
    "tag": _tag,
    "category": _category,
    "price": _price,
    "in_stock": _in_stock,
    "created_at": _created,
    "option": _option,
}
