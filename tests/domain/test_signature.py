"""Webhook signatures: who may speak, what was said, and when."""

import pytest

from ultramarket.domain.signature import sign, verify

BODY, SECRET = b'{"type": "captured"}', b"whsec"
HEADER = sign(BODY, SECRET, 1_772_366_400)


def test_a_signature_is_the_hmac_of_time_and_body() -> None:
    # printf '1772366400.{"type": "captured"}' | openssl dgst -sha256 -hmac whsec
    assert HEADER == "t=1772366400,v1=a75d111fac88414cc852c264bdec4533e8d6dab05cf8e060e37d08485a9b96d3"


@pytest.mark.parametrize("now", [1_772_366_100, 1_772_366_400, 1_772_366_700])
def test_a_signature_holds_for_five_minutes(now: int) -> None:
    assert verify(BODY, SECRET, HEADER, now)


@pytest.mark.parametrize("now", [1_772_366_099, 1_772_366_701])
def test_a_signature_of_another_time_is_refused(now: int) -> None:
    assert not verify(BODY, SECRET, HEADER, now)


@pytest.mark.parametrize(
    ("body", "secret", "header"),
    [
        (BODY + b" ", SECRET, HEADER),
        (BODY, b"other", HEADER),
        (BODY, SECRET, HEADER.replace("t=1772366400", "t=1772366401")),
        (BODY, SECRET, HEADER.replace("t=", "t=0")),
        (BODY, SECRET, HEADER.upper()),
        (BODY, SECRET, HEADER + "\n"),
        (BODY, SECRET, "t=é,v1=é"),
        (BODY, SECRET, ""),
    ],
)
def test_anything_else_is_refused(body: bytes, secret: bytes, header: str) -> None:
    assert not verify(body, secret, header, 1_772_366_400)
