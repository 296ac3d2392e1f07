"""The rules of a collection in SQL: evaluated when asked, so that they follow the catalogue."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from ultramarket.adapters.postgres_search_parameters import Parameters
from ultramarket.adapters.postgres_search_write import option
from ultramarket.domain.folding import fold, storable
from ultramarket.messages.collection import Rule
from ultramarket.ports.search import Chosen


def chosen_by(parameters: Parameters, chosen: Chosen) -> str:
    """The condition that a product `c` of the cards is one of the collection's; its values become parameters.

    Raises:
        ValueError: a text that the database can't take.
    """
    if not chosen.rules:
        return f"c.id = any({parameters.add(list(chosen.products))}::text[])"
    words = {"all": " and ", "any": " or "}[chosen.match]
    return "(" + words.join(_condition(parameters, rule, chosen) for rule in chosen.rules) + ")"


def by_hand(parameters: Parameters, chosen: Chosen) -> str:
    """The place of a product in the collection, as a value to sort by."""
    return f"array_position({parameters.add(list(chosen.products))}::text[], c.id)::numeric"


def _condition(parameters: Parameters, rule: Rule, chosen: Chosen) -> str:
    storable(rule.value, "rule")
    positive = _CONDITIONS[rule.field](parameters, rule, chosen)
    return f"not {positive}" if rule.relation == "is_not" else positive


def _text(column: str) -> Callable[[Parameters, Rule, Chosen], str]:
    def condition(parameters: Parameters, rule: Rule, chosen: Chosen) -> str:  # noqa: ARG001 - as the others
        return f"({column} {_compared(parameters, rule)})"

    return condition


def _compared(parameters: Parameters, rule: Rule) -> str:
    value = fold(rule.value)
    if rule.relation in ("is", "is_not"):
        return f"= {parameters.add(value)}::text"
    literal = value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    pattern = f"{literal}%" if rule.relation == "starts_with" else f"%{literal}%"
    return f"like {parameters.add(pattern)}::text"


def _tag(parameters: Parameters, rule: Rule, chosen: Chosen) -> str:  # noqa: ARG001 - as the others
    if rule.relation in ("is", "is_not"):
        return f"(c.tags @> array[{parameters.add(fold(rule.value))}::text])"
    return f"exists (select from unnest(c.tags) as tag where tag {_compared(parameters, rule)})"


def _category(parameters: Parameters, rule: Rule, chosen: Chosen) -> str:
    return f"(c.categories && {parameters.add(list(chosen.categories.get(rule.value, ())))}::text[])"


def _price(parameters: Parameters, rule: Rule, chosen: Chosen) -> str:
    """Any of its variants costs more, or less."""
    compared = "r.high >" if rule.relation == "above" else "r.low <"
    currency, amount = parameters.add(chosen.currency), parameters.add(Decimal(rule.value))
    return (
        "exists (select from product_price r "
        f"where r.product = c.id and r.currency = {currency} and {compared} {amount})"
    )


def _in_stock(parameters: Parameters, rule: Rule, chosen: Chosen) -> str:  # noqa: ARG001 - as the others
    return "(c.in_stock)" if rule.value == "true" else "(not c.in_stock)"


def _created(parameters: Parameters, rule: Rule, chosen: Chosen) -> str:  # noqa: ARG001 - as the others
    compared = ">" if rule.relation == "above" else "<"
    time = msgspec.convert(rule.value, datetime).astimezone(UTC)
    return f"(c.created_at {compared} {parameters.add(time)})"


def _option(parameters: Parameters, rule: Rule, chosen: Chosen) -> str:  # noqa: ARG001 - as the others
    name, _, value = rule.value.partition("=")
    pair = parameters.add([option(name, value)])
    return f"exists (select from product_variant v where v.product = c.id and v.options @> {pair}::text[])"


_CONDITIONS: dict[str, Callable[[Parameters, Rule, Chosen], str]] = {
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
