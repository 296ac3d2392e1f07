"""What is stored: text, byte for byte, within bounds."""

from datetime import UTC, datetime
from hashlib import sha256

import pytest

from tests.conformance.toys import Courier, Toy, ToyPart
from ultramarket.errors import Rejection
from ultramarket.ports.asking import Answer
from ultramarket.runtime.codec import (
    BODY_LIMIT,
    Chain,
    KindCodec,
    Unstorable,
    decode_answer,
    encode,
    encode_answer,
    text_fault,
)


@pytest.mark.parametrize("bad", ["\0", "a\\\0", "\ud800", {"k\0": 1}, ["x", {"y": "\0"}]])
def test_nul_and_lone_surrogates_are_refused(bad: object) -> None:
    with pytest.raises(Unstorable):
        encode(bad)


@pytest.mark.parametrize("good", ["\\u0000", "a\\\\u0000", "ü€😀", ""])
def test_texts_that_only_look_like_nul_pass(good: str) -> None:
    assert encode(good).startswith('"')


def test_the_bound_is_in_bytes() -> None:
    assert len(encode("x" * (BODY_LIMIT - 2)).encode()) == BODY_LIMIT
    with pytest.raises(Unstorable, match="bytes where at most"):
        encode("€" * (BODY_LIMIT // 3))


def test_texts_for_ids_have_1_to_200_bytes() -> None:
    assert [text_fault(text) for text in ("a", "x" * 200, "€" * 66)] == [None, None, None]
    assert text_fault("") == text_fault("x" * 201) == text_fault("€" * 67) == "it must have 1 to 200 bytes"
    assert text_fault("a\0") == "it holds the character NUL"
    assert text_fault("\ud800") == "it holds a lone surrogate"


def test_an_answer_comes_back_as_plain_data() -> None:
    answer = Answer(ToyPart(3), None, "toy.00@7", version=2)
    assert decode_answer(encode_answer(answer)) == Answer({"value": 3}, None, "toy.00@7", replayed=True, version=2)
    refusal = Answer(rejection=Rejection("poor", "no", 409, extra={"a": "b"}))
    assert decode_answer(encode_answer(refusal)).rejection == refusal.rejection


def test_the_chain_covers_every_field() -> None:
    at = datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC)
    names = ("toy", "a", "Added", "c", "staff")
    link = Chain.link(Chain.START, names, 1, at, '{"n":1}')
    meta = b'["toy","a","Added","c","staff",1,1772366400000001]'
    assert link == sha256(bytes(32) + meta + b'\n{"n":1}').digest()
    others = [
        Chain.link(link, names, 1, at, '{"n":1}'),
        *(Chain.link(Chain.START, (*names[:n], "x", *names[n + 1 :]), 1, at, '{"n":1}') for n in range(5)),
        Chain.link(Chain.START, names, 2, at, '{"n":1}'),
        Chain.link(Chain.START, names, 1, at.replace(microsecond=2), '{"n":1}'),
        Chain.link(Chain.START, names, 1, at, '{"n":2}'),
    ]
    assert len({link, *others}) == 10


def test_parts_are_read_where_the_kind_has_them() -> None:
    assert KindCodec(Toy()).parts({"p": '{"value":3}'}) == {"p": ToyPart(3)}

    class Partless(Toy):
        part = None

    assert KindCodec(Partless()).parts({"p": "1"}) == {}
    assert KindCodec(Courier()).command(b'{"$type":"Deliver","n":1}').n == 1
