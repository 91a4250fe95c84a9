"""W3C Trace Context; the cases are those of the specification's rules."""

import pytest

from service.observability.tracing.trace_context import (
    LONGEST_STATE,
    TraceContext,
    has_traceparent,
    new_span_id,
    new_trace_id,
    parse_traceparent,
    parse_tracestate,
    trace_context,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (VALID, True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"00-{TRACE}-{SPAN}-02", False),
    ],
)
def test_flag_says_whether_the_caller_samples(text: str, sampled: bool) -> None:
    assert parse_traceparent(text) == TraceContext(TRACE, SPAN, sampled)


@pytest.mark.parametrize("text", [f"01-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-comes-later"])
def test_later_version_is_read_as_far_as_it_is_known(text: str) -> None:
    assert parse_traceparent(text) == TraceContext(TRACE, SPAN, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x" * 1_000_000,
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}",
        f" {VALID}",
        f"{VALID}\n",
        f"00-{TRACE.replace('4', '٤')}-{SPAN}-01",
        VALID.encode(),
        None,
    ],
)
def test_malformed_value_is_no_context(text: object) -> None:
    assert parse_traceparent(text) is None


def test_state_is_joined_from_all_its_headers() -> None:
    metadata = (("tracestate", "a=1"), ("traceparent", VALID), ("tracestate", "b=2"), ("tracestate-bin", b"c=3"))
    assert trace_context(metadata) == TraceContext(TRACE, SPAN, True, "a=1,b=2")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a=1", "a=1"),
        ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        (" a=1 ,\tb=2\t,,", "a=1,b=2"),
        ("a_-*/=!~ x", "a_-*/=!~ x"),
        ("1tenant@vendor=1", "1tenant@vendor=1"),
        ("a= leading", "a= leading"),
        ("k" * 256 + "=" + "v" * 255, "k" * 256 + "=" + "v" * 255),
        (",".join(f"k{i}=1" for i in range(32)), ",".join(f"k{i}=1" for i in range(32))),
    ],
)
def test_state_of_the_specifications_grammar_is_kept(text: str, kept: str) -> None:
    assert parse_tracestate(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "zoo_secret",
        "a=",
        "=1",
        "A=1",
        "1=1",
        "a =1",
        "a=1=2",
        "a=1;b\x7f",
        "a=ü",
        "a=1\n",
        "a\n=1",
        "a=1,b",
        "a=1,a=2",
        "@vendor=1",
        "tenant@1=1",
        "tenant@" + "v" * 15 + "=1",
        "k" * 257 + "=1",
        "k=" + "v" * 257,
        "a=" + "1" * LONGEST_STATE,
        "٤=1",
        ",".join(f"k{i}=1" for i in range(33)),
    ],
)
def test_state_of_another_form_is_left_out_without_a_word(text: str, caplog: pytest.LogCaptureFixture) -> None:
    metadata = (("traceparent", VALID), ("tracestate", text))
    assert trace_context(metadata) == TraceContext(TRACE, SPAN, True)
    assert not caplog.records


def test_state_that_is_too_long_is_left_out() -> None:
    state = "a=1," * (LONGEST_STATE // 4) + "b=2"
    assert trace_context((("traceparent", VALID), ("tracestate", state))) == TraceContext(TRACE, SPAN, True)


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("tracestate", "a=1"),),
        (("traceparent", VALID), ("traceparent", VALID)),
        (("traceparent", "wrong"), ("tracestate", "a=1")),
    ],
)
def test_metadata_without_one_valid_parent_have_no_context(metadata: tuple[tuple[str, str], ...]) -> None:
    assert trace_context(metadata) is None


def test_presence_of_a_parent_is_seen_without_parsing() -> None:
    assert has_traceparent((("a", "b"), ("traceparent", "wrong")))
    assert not has_traceparent((("a", "b"), ("tracestate", "a=1")))


def test_new_ids_are_of_the_right_form() -> None:
    assert parse_traceparent(f"00-{new_trace_id()}-{new_span_id()}-01") is not None
