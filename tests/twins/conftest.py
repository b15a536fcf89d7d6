"""What the twins share: the six faces, and two replicas and two HTTP/2 servers for all of them."""

import pytest

from tests.rigs.certs import Authority
from tests.rigs.h2server import h2_servers
from tests.rigs.ledger import Ledger
from tests.rigs.replica import replicas
from tests.twins.faces import FACES


@pytest.fixture(params=FACES, ids=str)
def face(request):
    return request.param


@pytest.fixture(scope="package")
def orders(tmp_path_factory):
    """The ledger that both replicas write."""
    return Ledger(tmp_path_factory.mktemp("ledger") / "orders")


@pytest.fixture(scope="package")
def pair(orders):
    """Two replicas that are well; a test that changes them changes them back."""
    with replicas(2, ledger=orders) as both:
        yield both


@pytest.fixture(scope="package")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="package")
def h2_pair(authority):
    with h2_servers(2, tls=authority.issue("orders.test", "127.0.0.1")) as both:
        yield both
