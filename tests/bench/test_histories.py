from scripts.benchmarks.histories import Blank, places_of


def test_a_blank_is_filled_in_all_its_places_and_may_be_filled_again() -> None:
    blank = Blank('{"cart":"c1","order":"o1","again":"c1"}', places_of(["c1", "o1"]))
    assert blank.fill({"c1": "c2", "o1": "o2"}) == '{"cart":"c2","order":"o2","again":"c2"}'
    assert blank.fill({"c1": "c3", "o1": "o3"}) == '{"cart":"c3","order":"o3","again":"c3"}'


def test_a_text_without_places_stays_as_it_is() -> None:
    assert Blank("nothing here", places_of(["c1"])).fill({"c1": "c2"}) == "nothing here"


def test_a_place_is_no_part_of_a_longer_word() -> None:
    blank = Blank('"number":"100001","at":"11:45.100001Z","key":"um:100001:pi"', places_of(["100001"]))
    assert blank.fill({"100001": "7"}) == '"number":"7","at":"11:45.100001Z","key":"um:7:pi"'
