"""Words that every actor shares: texts per language, sealed personal values, addresses, the timer's wake-up."""

from functools import lru_cache

import msgspec

from ultramarket.domain.money import Money

Text = dict[str, str]
"""A text per language, e.g. `{"en": "Shirt", "de": "Hemd"}`; keys are BCP 47 language tags in lower case."""


class Message(msgspec.Struct, frozen=True, tag=True, tag_field="$type", kw_only=True, omit_defaults=True):
    """Base of commands, events and answers: an immutable struct, tagged with its class name in the field `$type`."""


class Sealed(msgspec.Struct, frozen=True, array_like=True):
    """A personal value, encrypted under its subject's key (AES-256-GCM); only the edges open it.

    Attributes:
        subject: whose key opens it, e.g. `cart:0d9c...` for a guest.
        box: base64url of nonce, ciphertext and tag.
    """

    subject: str
    box: str


class Address(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A postal address; what tax and shipping need stays open, the rest is sealed.

    Attributes:
        country: ISO 3166-1 alpha-2, upper case.
        region: state or province code as given, empty when there is none.
        postal_prefix: the first three characters of the postal code, for tax and shipping zones.
    """

    name: Sealed
    line1: Sealed
    line2: Sealed | None = None
    city: Sealed
    postal_code: Sealed | None = None
    phone: Sealed | None = None
    country: str
    region: str = ""
    postal_prefix: str = ""


class ShownAddress(msgspec.Struct, frozen=True, kw_only=True):
    """The public form of an address, its sealed parts opened (`erased` where the subject's key is gone)."""

    name: str
    line1: str
    line2: str | None
    city: str
    region: str
    postal_code: str | None
    country: str
    phone: str | None


class ShownMoney(msgspec.Struct, frozen=True):
    """An amount for people and programs: a decimal string in the currency's own number of decimals."""

    amount: str
    currency: str


class Wake(Message, frozen=True):
    """The time an entity asked to be woken at has come (see `Actor.wake_at`)."""


@lru_cache(maxsize=8192)
def shown(money: Money) -> ShownMoney:
    """The public form of an amount; remembered, because a cart shows the same few amounts again and again."""
    return ShownMoney(money.text(), money.currency)
