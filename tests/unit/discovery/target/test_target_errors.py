"""What is said of wrong targets: the offending part is marked, a likely word is offered, credentials are never shown."""

import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbkit.discovery import parse_target
from lbkit.discovery.target.text import scheme_of
from lbkit.errors import ConfigError

ENVIRONMENT = {"WRONG": "dns://o:80?timout=1", "LOOP": "env:LOOP", "OTHER": "ENV://LOOP", "EMPTY": ""}


def said_of(text):
    with pytest.raises(ConfigError) as caught:
        parse_target(text, environment=ENVIRONMENT)
    return str(caught.value)


MARKED = [
    """
    a dns target has a name and a port: dns://orders.internal:8080
      dns://orders.internal
            ^^^^^^^^^^^^^^^
    """,
    """
    a dns target has a name and a port: dns://orders:8080
      dns://:80
            ^^^
    """,
    """
    the port is a number from 1 to 65535
      dns://10.0.0.53/orders:http
                      ^^^^^^^^^^^
    """,
    """
    Dns: port must be from 1 to 65535, not 99999
      dns://orders:99999
            ^^^^^^^^^^^^
    """,
    """
    a dns target has a name: dns://orders.internal:8080
      dns://10.0.0.53/
                      ^
    """,
    """
    a dns target has no option 'timout'; did you mean 'timeout'? Known: allow, empty_grace, family, max_ttl, min_ttl, nameserver, search, timeout
      dns://o:80?family=4&timout=3
                          ^^^^^^
    """,
    """
    timeout must be a number without a unit, such as 2.5, not '3s'
      dns://o:80?timeout=3s&family=4
                         ^^
    """,
    """
    timeout must be a number without a unit, such as 2.5, not '1e999'
      dns://o:80?timeout=1e999
                         ^^^^^
    """,
    """
    timeout has no value: write timeout=...
      dns://o:80?timeout
                 ^^^^^^^
    """,
    """
    timeout has no value: write timeout=...
      dns://o:80?timeout=
                 ^^^^^^^
    """,
    """
    timeout is given twice
      dns://o:80?timeout=3&timeout=4
                           ^^^^^^^
    """,
    """
    Dns: timeout must be above 0 seconds and finite, not 0.0
      dns://o:80?timeout=0
                         ^
    """,
    """
    family must be a whole number, not 'six'
      dns://o:80?family=six
                        ^^^
    """,
    """
    stale must be true or false, not 'yes'
      consul://o?stale=yes
                       ^^^
    """,
    """
    nameserver is given twice: here and before the name
      dns://10.0.0.53/o:80?nameserver=10.0.0.54
                           ^^^^^^^^^^
    """,
    """
    a dns+srv target has no port: SRV records say it; for a host and port write dns://
      dns+srv://_http._tcp.o:80
                ^^^^^^^^^^^^^^^
    """,
    """
    this names an agent and no service: write consul://10.0.0.5:8500/SERVICE
      consul://10.0.0.5:8500
               ^^^^^^^^^^^^^
    """,
    """
    consul+https is for agents that the target names: consul+https://agent/orders
      consul+https://orders
                     ^^^^^^
    """,
    """
    Consul: agent: an endpoint is host:port with a port from 1 to 65535, IPv6 in [brackets]
      consul://agent:http/orders
               ^^^^^^^^^^
    """,
    """
    Consul: max_age goes with cached=True
      consul://orders?max_age=3
                              ^
    """,
    """
    there is no scheme 'consu'; did you mean 'consul'? Known: consul, consul+https, consul+query, consul+query+https, dns, dns+srv, env, file, http, https, static, unix
      consu://orders
      ^^^^^
    """,
    """
    a:80 is given twice
      static://a:80,b:80,A:80
               ^^^^      ^^^^
    """,
    """
    there is an empty place in the list of endpoints
      a:80,,b:80
           ^
    """,
    """
    there is an empty place in the list of endpoints
      static:a:80,
                  ^
    """,
    """
    endpoint 'orders' has no port: write orders:8080, or dns://orders:8080 to look the name up
      a:80,orders
           ^^^^^^
    """,
    """
    an endpoint has no path, query or fragment: give them to the client, as its base_url
      http://a/v1
      ^^^^^^^^^^^
    """,
    """
    a static target has no options, so no 'weight'
      static://a:80?weight=2
                    ^^^^^^
    """,
    """
    a target has no fragment: write %23 for '#'
      file:///etc/#1.json
                  ^
    """,
    """
    between // and / there is no host for a file target: write file:///etc/orders.json, or file:orders.json for a relative path
      file://orders.json
             ^^^^^^^^^^^
    """,
    """
    File: '/etc/orders.yaml' ends with neither .json nor .toml: say format="json" or "toml"
      file:///etc/orders.yaml
              ^^^^^^^^^^^^^^^
    """,
    """
    a unix target has no options, so no 'mode'
      unix:/run/a.sock?mode=7
                       ^^^^
    """,
    """
    the environment variable ORDERS is not set
      env:ORDERS
          ^^^^^^
    """,
    """
    the environment variable EMPTY is empty
      env://EMPTY
            ^^^^^
    """,
    """
    the environment variable LOOP holds another env target, which is not followed
      env:LOOP
          ^^^^
    """,
    """
    the environment variable OTHER holds another env target, which is not followed
      env:OTHER
          ^^^^^
    """,
    """
    an env target names an environment variable: env:ORDERS_TARGET
      env:
          ^
    """,
    """
    in the environment variable WRONG: a dns target has no option 'timout'; did you mean 'timeout'? Known: allow, empty_grace, family, max_ttl, min_ttl, nameserver, search, timeout
      dns://o:80?timout=1
                 ^^^^^^
    """,
]


@pytest.mark.parametrize("said", MARKED)
def test_the_offending_part_is_marked(said):
    """The message, the target, and marks below the part that is wrong. The target is taken from the example."""
    said = textwrap.dedent(said).strip("\n")
    text = said.split("\n")[1].strip()
    if "WRONG" in said:
        text = "env:WRONG"
    assert said_of(text) == said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:80\n", "no control characters, such as '\\n'"),
        ("dns://o:80\x00", "no control characters"),
        (" a:80", "no white space before or behind it"),
        ("a:80 ", "no white space before or behind it"),
        ("dns://o:80?timeout=3&", "options are written"),
        ("dns://o:80?=3", "options are written"),
        ("static://", "a static target lists endpoints"),
        ("unix:", "a unix target names a path"),
        ("file://", "a file target names a path"),
        ("orders:http", "an endpoint is host:port"),
    ],
)
def test_what_is_no_target_is_refused_in_words(text, message):
    """Also where nothing can be marked."""
    assert message in said_of(text)


SECRETS = [
    "dns://me:hunter2@orders:80",
    "dns://hunter2@orders:80",
    "consul://me:hunter2@agent/orders",
    "consul://me:hunter2@agent:http/orders?tga=1",
    "consul://me:hun/hunter2@agent/orders",
    "consul://me:hun?hunter2@agent/orders",
    "consul://me:hun#hunter2@agent/orders",
    "consul://orders?token=hunter2",
    "consul://orders?tga=v2&token=hunter2",
    "consul://orders?Token=hunter2",
    "consul://orders?acl_token=hunter2#x",
    "consul://orders?agent=http://me:hunter2@agent:8500",
    "consul://orders?agent=http://me:hunter2@agent:8500&wait=0",
    "dns://orders:80?password=hunter2",
    "dns://orders:80?api_key=hunter2",
    "http://me:hunter2@orders",
    "http://me:hunter2@orders,a",
    "a:80,http://me:hunter2@orders",
    "me:hunter2@orders:80",
    "static://me:hunter2@orders:80",
    "static:http://me:hunter2@orders",
    "nothing://me:hunter2@orders",
    "env://me:hunter2@ORDERS",
    "http://me:hunter2@orders\n",
    " http://me:hunter2@orders",
]


@pytest.mark.parametrize("text", SECRETS)
def test_credentials_are_refused_and_never_shown(text):
    """Wherever they stand, and whatever else is wrong."""
    assert "hunter2" not in said_of(text)


@pytest.mark.parametrize("text", SECRETS)
def test_credentials_in_an_environment_variable_are_not_shown_either(text):
    """The message names the variable instead."""
    with pytest.raises(ConfigError) as caught:
        parse_target("env:ORDERS", environment={"ORDERS": text})
    assert "hunter2" not in str(caught.value)
    assert "the environment variable ORDERS" in str(caught.value)


def test_a_token_is_sent_elsewhere():
    """The message says where it belongs."""
    assert "token_file=..., or set CONSUL_HTTP_TOKEN" in said_of("consul://orders?token=abc")


PIECES = ["consul", "dns", "dns+srv", "file", "static", "unix", "env", "http", ":", "//", "/", "?", "=", "&", ",", "#"]
PIECES += [
    "%",
    "%2",
    "%00",
    "%ff",
    "[",
    "]",
    "::1",
    "orders",
    "80",
    "tag",
    "timeout",
    "agent",
    "é",
    " ",
    "\t",
    "+",
    ".",
]


@settings(derandomize=True, deadline=None, max_examples=500)
@given(text=st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=30))
def test_whatever_is_written_there_is_a_source_or_one_kind_of_error(text):
    """Nothing but ConfigError comes out, and its marks stand below the target."""
    try:
        made = parse_target(text, environment=ENVIRONMENT)
    except ConfigError as error:
        said = str(error).split("\n")
    else:
        assert str(made)
        return
    assert said[0]
    if len(said) == 3 and scheme_of(text) != "env":
        assert said[1].startswith("  ")
        assert set(said[2]) == {" ", "^"}
        assert len(said[2]) <= len(said[1]) + 1
