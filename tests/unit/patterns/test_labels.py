"""Operator-chosen labels: which expressions are taken, and what they find."""

from __future__ import annotations

import time
from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_exporter.model import DomainInfo
from libvirt_exporter.patterns.labels import compile_label, too_large

INFO = DomainInfo(uuid="", name="web")
NAMESPACES = {"n": "http://acme.example/a//b"}
DOMAIN = fromstring(
    """<domain type='kvm'>
      <name>web</name>
      <title>  </title>
      <metadata>
        <a xmlns='http://acme.example/a//b' rank='1' n2:rank='7'
           xmlns:n2='http://acme.example/a//b'>
          <b/><b kind='x'> blue
          </b><b kind='y'>red</b>
        </a>
      </metadata>
    </domain>"""
)


@pytest.mark.parametrize(
    ("xpath", "value"),
    [
        ("name", "web"),
        ("name/text()", "web"),
        ("./name", "web"),
        (" /domain/name ", "web"),
        ("@type", "kvm"),
        ("/domain/@type", "kvm"),
        ("metadata/n:a/n:b", "blue"),
        ("metadata/n:a/n:b[2]", "blue"),
        ("metadata/n:a/n:b[last()]", "red"),
        ("metadata/n:a/n:b[last()-1]/@kind", "x"),
        ("//n:b[@kind='y']", "red"),
        ("//n:b[@kind!='x']/@kind", "y"),
        ("//n:b/@kind", "x"),
        ("//{http://acme.example/a//b}b", "blue"),
        ("metadata//n:b[.='red']/@kind", "y"),
        ("//n:a[n:b='red']/@rank", "1"),
        ("//n:a/@n:rank", "7"),
        ('//*[@kind="y"]', "red"),
        ("//n:b/../@rank", "1"),
    ],
)
def test_finds_the_first_value(xpath: str, value: str) -> None:
    """An expression yields the first value that is not blank, without the space around it."""
    assert compile_label("x", xpath, NAMESPACES).value(DOMAIN, INFO) == value


@pytest.mark.parametrize("xpath", ["description", "@id", "title", "//b", "metadata/n:a/n:b/@none"])
def test_yields_the_empty_string_where_the_xml_has_no_value(xpath: str) -> None:
    """What is missing, blank or in another namespace is ''."""
    assert compile_label("x", xpath, NAMESPACES).value(DOMAIN, INFO) == ""


@pytest.mark.parametrize(
    ("xpath", "hint"),
    [
        ("", "not understood"),
        ("name/", "from '/' on"),
        ("a|b", r"from '\|b' on"),
        ("title description", "from ' description' on"),
        ("contains(name, 'x')", r"from .\(name"),
        ("a[@b='c' and @d='e']", "not understood"),
        ("a[0]", "not understood"),
        ("a[", "not understood"),
        ("name/text()/x", "not understood"),
        ("name//@kind", "not understood"),
        ("...", "not understood"),
        ("/name", "must start with `/domain`"),
        ("/domainx/name", "must start with `/domain`"),
        ("domain/name", "leave out `domain`"),
        ("//n:a//n:b", "more than once"),
        ("a" * 1001, "longer than 1000 characters"),
        ("a" + "[1]" * 9, "more than 8 predicates"),
        ("a" + "[@b='c']" * 100, "more than 8 predicates"),
        ("/".join("a" * 40), "more than 32 steps"),
        ("/".join([".."] * 300), "more than 32 steps"),
        ("metadata/q:a", "prefix 'q'"),
        ("metadata/n:a/@q:rank", "prefix 'q'"),
    ],
)
def test_refuses_an_expression_with_a_message_that_helps(xpath: str, hint: str) -> None:
    """What ElementTree would misread or never find is refused, saying where or why."""
    with pytest.raises(ValueError, match=hint):
        compile_label("x", xpath, NAMESPACES)


DEAREST = "//*" + "[last()]" * 4 + "[.='x']" * 4 + "/text()"


@pytest.mark.parametrize(
    "xml",
    [
        "<d>" + "<a/>" * 1990 + "</d>",
        "<d>" + ("<b>" + "<a/>" * 200 + "</b>") * 90 + "</d>",
        "<a>" * 2800 + "text" * 10 + "</a>" * 2800,
        "<d>" + ("<a>" * 20 + "</a>" * 20) * 1000 + "</d>",
    ],
)
def test_what_is_not_too_large_is_read_in_seconds(xml: str) -> None:
    """The dearest expression there can be, on the largest trees of each kind."""
    domain = fromstring(xml)
    assert not too_large(domain)
    started = time.process_time()
    assert compile_label("x", DEAREST, {}).value(domain, INFO) == ""
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    "xml",
    [
        "<d>" + "<a/>" * 2100 + "</d>",
        "<a>" * 3000 + "</a>" * 3000,
        "<d>" + ("<a>" * 50 + "</a>" * 50) * 10_000 + "</d>",
    ],
)
def test_what_is_too_large_is_seen_at_once(xml: str) -> None:
    """Wide, deep and both."""
    domain = fromstring(xml)
    started = time.process_time()
    assert too_large(domain)
    assert time.process_time() - started < 1


def test_keeps_what_was_configured() -> None:
    """A compiled label still knows its name, expression and namespaces, and compares by them."""
    label = compile_label("tenant", "//n:b/@kind", NAMESPACES)
    assert (label.name, label.xpath, label.namespaces) == ("tenant", "//n:b/@kind", NAMESPACES)
    assert label == compile_label("tenant", "//n:b/@kind", dict(NAMESPACES))


PIECES = st.sampled_from(
    [
        *("/", "//", "/domain", ".", "..", "@", "n:", "q:", "a", "b", "*", "[", "]", "(", ")"),
        *("text()", "last()", "'", '"', "=", "!=", "1", "0", "-", "{", "}", " ", "|", ":", "::"),
        *("[@kind='x']", "[1]", "[last()]", "n:b", "metadata", "\n", "\0"),
    ]
)


@given(st.text() | st.lists(PIECES, max_size=12).map("".join))
def test_any_text_is_either_refused_by_value_error_or_usable(xpath: str) -> None:
    """No expression raises anything else, neither when compiled nor when used."""
    try:
        label = compile_label("x", xpath, NAMESPACES)
    except ValueError:
        return
    assert label.value(DOMAIN, INFO) == label.value(DOMAIN, INFO).strip()
