import pytest
from hypothesis import given
from hypothesis import strategies as st

from ultramarket.domain.html import sanitise


@pytest.mark.parametrize(
    ("html", "safe"),
    [
        ("<p>Soft <strong>wool</strong></p>\n", "<p>Soft <strong>wool</strong></p>"),
        ("plain & simple, 3 < 4", "plain &amp; simple, 3 &lt; 4"),
        ("<script>alert(1)</script>ok<style>p{}</style>", "ok"),
        ('<p onclick="x()" style="color:red" class="a" id="b">ok</p>', "<p>ok</p>"),
        ('<a href="javascript:x()">a</a>', '<a rel="noopener noreferrer nofollow">a</a>'),
        (
            '<a href="https://example.com">a</a>',
            '<a href="https://example.com" rel="noopener noreferrer nofollow">a</a>',
        ),
        ('<img src="data:image/png;base64,AA" alt="x" onerror="y">', '<img alt="x">'),
        ('<img src="/static/a.svg" alt="x">', '<img src="/static/a.svg" alt="x">'),
        ("<iframe src='https://example.com'></iframe><form><input></form>", ""),
        ("<!-- secret --><b>not closed", "<b>not closed</b>"),
        ("<svg><script>x</script></svg>", ""),
        ("", ""),
    ],
)
def test_only_text_structure_links_and_pictures_stay(html: str, safe: str) -> None:
    assert sanitise(html) == safe


@given(st.text(alphabet=st.sampled_from("<>/\"'=&; abpsvg\x00\n!-"), max_size=80))
def test_safe_html_stays_as_it_is(html: str) -> None:
    assert sanitise(sanitise(html)) == sanitise(html)


def test_tags_nested_too_deep_become_text() -> None:
    deep = sanitise("<div>" * 102 + "x" + "</div>" * 102)
    assert deep == "<div>" * 100 + "&lt;div&gt;&lt;div&gt;x" + "</div>" * 100


def test_many_tags_beside_each_other_are_not_deep() -> None:
    html = "<div><b>a</b><br></div>" * 150 + "<ul>" + "<li>x</li>" * 150 + "</ul>"
    assert sanitise(html) == html


def test_paragraphs_that_were_never_closed_are_not_deep() -> None:
    assert sanitise("<p>x" * 150) == "<p>x</p>" * 150


def test_a_close_without_its_opening_makes_no_room() -> None:
    assert sanitise("<div></b>" * 102).count("<div>") == 100


def test_control_characters_are_left_out_and_lines_stay() -> None:
    assert sanitise("<p>a\x0bb&#11;c\x85</p>\r\n\t<p>d</p>") == "<p>abc</p>\n\t<p>d</p>"
