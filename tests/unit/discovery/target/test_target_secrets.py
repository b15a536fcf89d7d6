"""Target strings: credentials that do not belong there are never repeated, and what is no text is refused."""

import pytest

from lbkit.discovery import Consul, File
from lbkit.discovery.target.target import as_discovery, parse_target
from lbkit.errors import ConfigError


@pytest.mark.parametrize(
    "target",
    [
        "static://user:hunter2%40host:80",
        "consul://user:hunter2%40agent/orders",
        "dns://user:hunter2%40orders:80",
        "file://user:hunter2@host/orders.json",
        "file://user:hunter2%40host/orders.json",
        "unix://user:hunter2@host/run/orders.sock",
        "http://user:hunter2\uff20host:80",
        "http://orders:80/?token=hunter2",
        "a:80,http://b:80/?api_key=hunter2",
        "orders:80?X-Consul-Token=hunter2",
        "consul://orders?pwd=hunter2",
        "consul://orders?auth=hunter2",
        "consul://orders?tag=a#token=hunter2",
        "dsn://orders?password=hunter2",
    ],
)
def test_credentials_are_not_repeated_however_they_are_written(target):
    """Encoded, in a file's URL, as an option of a bare address: the target is not shown then."""
    with pytest.raises(ConfigError) as caught:
        parse_target(target)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("value", [b"http://user:hunter2@host", {"token": "hunter2"}])
def test_what_is_no_target_is_named_by_its_type(value):
    """Its text may hold anything."""
    with pytest.raises(ConfigError, match=f"not {type(value).__name__}") as caught:
        as_discovery(value)
    assert "hunter2" not in str(caught.value)


def test_an_at_sign_is_a_letter_where_it_can_be_one():
    """In a path, and encoded in the name of a service."""
    assert str(parse_target("file:///etc/orders@v2.json")) == "file:///etc/orders%40v2.json"
    assert parse_target("consul://orders%40v2").service == "orders@v2"


@pytest.mark.parametrize("target", ["env:\ud800", "consul://\udcff", "dns://orders\ud800:80", "file:\ud800.json"])
def test_half_a_character_is_refused(target):
    """It cannot be sent or printed; without this it was a UnicodeEncodeError, some of them only when it was used."""
    with pytest.raises(ConfigError) as caught:
        parse_target(target)
    str(caught.value).encode()


def test_a_file_name_that_is_no_text_is_taken_as_python_writes_it():
    """Such as os.listdir returns it; its name can be shown."""
    assert str(parse_target("file:/etc/\udcff.json")) == str(File("/etc/\udcff.json")) == "file:///etc/%FF.json"


def test_what_an_encoding_hides_does_not_come_out_in_a_message():
    """A control character would act on the terminal that shows it."""
    with pytest.raises(ConfigError) as caught:
        parse_target("env:%1b[2J")
    assert str(caught.value).replace("\n", "").isprintable()


def test_a_consul_name_with_half_a_character_is_refused():
    """It could not be asked for."""
    with pytest.raises(ConfigError, match='is a name such as "orders"'):
        Consul("orders\ud800")
