"""Postal addresses and e-mail addresses as clients send them: checked, then sealed for the actors."""

import re
from collections.abc import Callable
from typing import Annotated

import msgspec

from ultramarket.domain.texts import control_fault
from ultramarket.messages.common import Address, Sealed
from web.problems import refuse

# ISO 3166-1 alpha-2, the officially assigned codes.
_CODES = """
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ
CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO
FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE
JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO
MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW
PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM
TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
"""
COUNTRIES = frozenset(_CODES.split())
PREFIX_LENGTH = 3
"""Characters of the postal code that stay open, for tax and shipping zones."""
MAX_EMAIL = 254
"""RFC 5321, 4.5.3.1.3, with the erratum that takes the angle brackets off the path."""

# Only the shape: whether an address takes mail is known when it does.
_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f.]+(\.[^@\s\x00-\x1f\x7f.]+)+")

Short = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Optional = Annotated[str, msgspec.Meta(max_length=200)]


class NewAddress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A postal address; `country` is an ISO 3166-1 alpha-2 code, `region` a state or province code."""

    name: Short
    line1: Short
    line2: Optional | None = None
    city: Short
    region: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    postal_code: Annotated[str, msgspec.Meta(max_length=20)] | None = None
    country: Annotated[str, msgspec.Meta(min_length=2, max_length=2)]
    phone: Annotated[str, msgspec.Meta(max_length=40)] | None = None


def check_email(email: str) -> None:
    """Refuse what can't be an e-mail address.

    Raises:
        Refused: 422 `invalid`.
    """
    if len(email) > MAX_EMAIL or not _EMAIL.fullmatch(email):
        refuse("invalid", "This is not an e-mail address: write one such as ada@example.com.", pointer="/email")


def check_address(address: NewAddress, pointer: str) -> None:
    """Refuse an address without a country that exists, with blank mandatory parts, or with control characters.

    Raises:
        Refused: 422 `invalid`.
    """
    if address.country not in COUNTRIES:
        detail = f"{address.country!r} is not a country: use an ISO 3166-1 code in capitals, such as DE."
        refuse("invalid", detail, pointer=f"{pointer}/country")
    for name in ("name", "line1", "city"):
        if not getattr(address, name).strip():
            refuse("invalid", "This must not be blank.", pointer=f"{pointer}/{name}")
    for name in address.__struct_fields__:
        check_line(getattr(address, name) or "", f"{pointer}/{name}")


def check_line(text: str, pointer: str, *, lines: bool = False) -> None:
    """Refuse a text with control characters; with `lines` it may have several lines.

    Raises:
        Refused: 422 `invalid`.
    """
    if fault := control_fault(text, lines=lines):
        refuse("invalid", f"{fault.capitalize()}.", pointer=pointer)


def sealed_address(address: NewAddress, seal: Callable[[str], Sealed]) -> Address:
    """The address for the actors: what tax and shipping need stays open, the rest is sealed."""
    postal_code = (address.postal_code or "").strip()
    return Address(
        name=seal(address.name),
        line1=seal(address.line1),
        line2=seal(address.line2) if address.line2 else None,
        city=seal(address.city),
        postal_code=seal(postal_code) if postal_code else None,
        phone=seal(address.phone) if address.phone else None,
        country=address.country,
        region=(address.region or "").strip(),
        postal_prefix=postal_code.upper()[:PREFIX_LENGTH],
    )
