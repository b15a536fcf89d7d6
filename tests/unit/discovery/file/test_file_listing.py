"""Written lists of endpoints: what may be in them, and what is said of those that are wrong."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbkit.core.endpoint import Endpoint
from lbkit.discovery.file.listing import read_listing
from lbkit.errors import DiscoveryError

FULL = Endpoint(
    host="10.0.0.2", port=8080, weight=2.5, priority=1, zone="eu-1", server_name="orders.internal",
    metadata={"version": "7"},
)  # fmt: skip


def said_of(content, form):
    """Return the text of the error, None where there is none."""
    try:
        read_listing(content, form)
    except DiscoveryError as error:
        return str(error)
    return None


def ids(text, form="json"):
    return [one.id for one in read_listing(text.encode(), form)]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("json", '["10.0.0.1:8080", "[::1]:80", "unix:/run/a.sock"]'),
        ("json", '{"endpoints": ["10.0.0.1:8080", "[::1]:80", "unix:/run/a.sock"]}'),
        ("json", '\ufeff[{"address": "10.0.0.1:8080"}, {"host": "::1", "port": 80}, {"address": "unix:/run/a.sock"}]'),
        ("toml", 'endpoints = ["10.0.0.1:8080", "[::1]:80", {address = "unix:/run/a.sock"}]'),
        (
            "toml",
            (
                '[[endpoints]]\naddress = "10.0.0.1:8080"\n[[endpoints]]\nhost = "::1"\nport = 80\n'
                '[[endpoints]]\naddress = "unix:/run/a.sock"'
            ),
        ),
    ],
)
def test_a_list_is_read_in_each_of_its_shapes(form, text):
    """Texts and objects, with and without "endpoints" around them, JSON and TOML, with a byte order mark too."""
    assert ids(text, form) == ["10.0.0.1:8080", "[::1]:80", "unix:/run/a.sock"]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (
            "json",
            (
                '[{"address": "10.0.0.2:8080", "weight": 2.5, "priority": 1, "zone": "eu-1", '
                '"server_name": "orders.internal", "metadata": {"version": "7"}}]'
            ),
        ),
        (
            "toml",
            (
                '[[endpoints]]\nhost = "10.0.0.2"\nport = 8080\nweight = 2.5\npriority = 1\nzone = "eu-1"\n'
                'server_name = "orders.internal"\nmetadata.version = "7"'
            ),
        ),
    ],
)
def test_everything_that_an_endpoint_has_can_be_written(form, text):
    """Weight, priority, zone, server name and metadata."""
    assert read_listing(text.encode(), form) == (FULL,)


@pytest.mark.parametrize(("form", "text"), [("json", "[]"), ("json", '{"endpoints": []}'), ("toml", "endpoints = []")])
def test_an_empty_list_is_a_list(form, text):
    """What becomes of it is the keeper's business."""
    assert read_listing(text.encode(), form) == ()


BROKEN_JSON = [
    ('["a:80",\n "b:80"', "line 2, column 8: no JSON: Expecting ',' delimiter"),
    ('["a:80",\n oops]', "line 2, column 2: no JSON: Expecting value"),
    ("", "line 1: the file is empty; a list without endpoints is []"),
    (" \n", "line 1: the file is empty"),
    ("[" * 100_000, "no list of endpoints: "),
    (f"[{'9' * 5000}]", "no list of endpoints: "),
    (
        '{"endpoints": [{"address": "a:80",\n"weight": 1, "weight": 2}]}',
        "the key 'weight' is given twice in one object",
    ),
    ("5", "line 1: the file must be a list of endpoints, not a whole number"),
    ("null", "line 1: the file must be a list of endpoints, not null"),
    ("{}", "line 1: the file has no 'endpoints'"),
    (
        '{\n"endpoint": ["a:80"]}',
        "line 2: endpoint: is not known here; did you mean 'endpoints'? Known: endpoints",
    ),
    ('{"endpoints":\n"a:80"}', "line 1: endpoints: must be a list of endpoints, not a text"),
    (
        '["a:80",\n5]',
        "line 2: [1]: must be a text such as '10.0.0.1:8080' or an object with 'address', not a whole number",
    ),
    ('["a:80",\n["b:80"]]', "line 2: [1]: must be a text such as"),
    ('["a:80", "b:80",\n"c"]', "line 2: [2]: endpoint 'c' has no port"),
    (
        '{"other": 1, "endpoints": []}',
        "line 1: other: is not known here; Known: endpoints",
    ),
    (
        '{"endpoints": [\n"a:80",\n{"address": "b:80"},\n{"address": "c:80",\n "wieght": 2}]}',
        "line 5: endpoints[2].wieght: is not known here; did you mean 'weight'? Known: address, host, port, weight",
    ),
    (
        '{"endpoints": [\n"a:80",\n{"address": "b:80"},\n{"address": "c:80",\n "weight": "2"}]}',
        "line 5: endpoints[2].weight: must be a number, not a text",
    ),
    ('[{"address": "a:80", "weight": true}]', "line 1: [0].weight: must be a number, not true"),
    ('[{"address": "a:80", "weight": NaN}]', "line 1: [0].weight: endpoint a:80: weight must be 0, or from"),
    (
        '[\n{"address": "a:80", "weight": -1}]',
        "line 2: [0].weight: endpoint a:80: weight must be 0, or from 1e-9 to 1e9, not -1",
    ),
    (
        '[\n{"address": "a:80",\n"priority": -1}]',
        "line 3: [0].priority: endpoint a:80: priority must be at least 0, not -1",
    ),
    (
        '[{"address": "a:80", "priority": 1.5}]',
        "line 1: [0].priority: must be a whole number, at least 0, not a number",
    ),
    ('[{"address": "a:80", "server_name": null}]', "line 1: [0].server_name: must be a text, not null"),
    ('[{"address": "a:80", "metadata": {\n"v": 7}}]', "line 2: [0].metadata.v: must be a text, not a whole number"),
    ('[{"address": "a:80", "port": 80}]', "line 1: [0]: has an 'address', which says the host and port"),
    ('[{"host": "a"}]', "line 1: [0]: needs an 'address', or a 'host' and a 'port'"),
    ('[{"host": "a", "port": 0}]', "line 1: [0]: endpoint a: port must be from 1 to 65535, not 0"),
    ('[{"address":\n"a"}]', "line 1: [0].address: endpoint 'a' has no port"),
    ('["a:80",\n"b:80",\n"A:80"]', "line 3: [2]: a:80 is given twice, first as [0]; to send it more, give it a weight"),
    (
        '{"endpoints": ["a:80", {"host": "a", "port": 80}]}',
        "line 1: endpoints[1]: a:80 is given twice, first as endpoints[0]",
    ),
    ('["http://me:hunter2@a"]', "line 1: [0]: an endpoint has no credentials"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN_JSON)
def test_a_broken_json_file_says_where_and_what(text, message):
    """The line, the entry and its key, and what is to be written instead."""
    with pytest.raises(DiscoveryError) as caught:
        read_listing(text.encode(), "json")
    assert str(caught.value).startswith(message)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('endpoints = [\n"a:80",\n= 5', "line 3, column 1: no TOML: Invalid value"),
        ('endpoints = ["a:80",\n', "line 2: no TOML: "),
        ("[[endpoints]]\naddress = 'a:80'\naddress = 'b:80'", "line 3: no TOML: Cannot overwrite a value"),
        ("", "the file has no 'endpoints'"),
        ("endpoint = []", "line 1: endpoint: is not known here; did you mean 'endpoints'?"),
        ("# all\nendpoints = 5", "line 2: endpoints: must be a list of endpoints, not a whole number"),
        (
            "[[endpoints]]\naddress = 'a:80'\n\n[[endpoints]]\naddress = 'b:80'\nweight = 'much'",
            "line 6: endpoints[1].weight: must be a number, not a text",
        ),
        (
            "[[endpoints]]\naddress = 'a:80'\nweight = 1\n[[endpoints]]\nweight = 1",
            "line 4: endpoints[1]: needs an 'address'",
        ),
        (
            "[[endpoints]]\naddress = 'a:80'\nmetadata = { v = 1979-05-27 }",
            "line 3: endpoints[0].metadata.v: must be a text",
        ),
        ("endpoints = ['a:80', 'a:80']", "endpoints[1]: a:80 is given twice, first as endpoints[0]"),
        ("weight = 1\n[[endpoints]]\naddress = 'a:80'", "line 1: weight: is not known here"),
    ],
)
def test_a_broken_toml_file_says_where_and_what(text, message):
    """The line where the format allows to know it, in any case the entry."""
    with pytest.raises(DiscoveryError) as caught:
        read_listing(text.encode(), "toml")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("form", ["json", "toml"])
def test_what_is_no_text_is_refused_with_its_line(form):
    """A file in another encoding, or none at all."""
    with pytest.raises(DiscoveryError, match="line 2: byte 0xe4 is not UTF-8"):
        read_listing(b'"a\n\xe4"', form)


@pytest.mark.parametrize(
    ("form", "whole"),
    [
        ("json", '{"endpoints": ["10.0.0.1:8080", {"address": "10.0.0.2:8080", "weight": 2}]}'),
        ("toml", "endpoints = ['10.0.0.1:8080', {address = '10.0.0.2:8080', weight = 2}]"),
    ],
)
def test_no_beginning_of_a_file_is_a_list(form, whole):
    """A file that is half written never passes for a shorter list."""
    for length in range(len(whole)):
        with pytest.raises(DiscoveryError):
            read_listing(whole[:length].encode(), form)


@pytest.mark.parametrize("form", ["json", "toml"])
@settings(derandomize=True, deadline=None)
@given(content=st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_whatever_the_file_holds_there_is_one_kind_of_error(form, content):
    """Nothing but DiscoveryError comes out."""
    assert said_of(content, form) != ""


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**40) | st.floats() | st.sampled_from(["a:80", "b", "é", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["endpoints", "address", "host", "port", "weight", "metadata", "x"]), inner)
    ),
    max_leaves=12,
)


@settings(derandomize=True, deadline=None)
@given(value=VALUES)
def test_whatever_the_document_says_there_is_one_kind_of_error(value):
    """Also for well-formed JSON of any shape; finding the line never fails."""
    said = said_of(json.dumps(value, indent=1).encode(), "json")
    assert said is None or said.startswith("line ")
