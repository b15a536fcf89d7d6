"""A real Knot DNS with the zone test.lb, changed while it runs by dynamic updates (RFC 2136).

    with Knot() as knot:
        knot.replace("_web._tcp", "SRV", ["10 60 8081 b1", "10 40 8082 b2"], addresses={"b1": ["127.0.0.1"], …})
        …                             # ask knot.nameserver for _web._tcp.test.lb
        knot.freeze()                 # silence
        knot.purge()                  # SERVFAIL

Other names than those below test.lb. are REFUSED. Each change is one update: nobody sees half of it.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import dns.update
import pytest

from tests.rigs.ports import free_port
from tests.rigs.process import ServerProcess

ZONE = "test.lb."
TTL = 1
_CONFIG = """
server:
  rundir: {home}
  listen: 127.0.0.1@{port}
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
  udp-max-payload: 1232
log:
  - target: stderr
    any: warning
database:
  storage: {home}
control:
  listen: {home}/knot.sock
acl:
  - id: update
    address: 127.0.0.1
    action: update
template:
  - id: default
    storage: {home}
    zonefile-sync: -1
    zonefile-load: whole
    journal-content: changes
zone:
  - domain: test.lb
    acl: update
"""
_START = "@ 1 SOA ns. root. 1 60 60 600 1\n@ 1 NS ns.other.\n"


def require(binary: str) -> str:
    """The path of a server's program; without it the test fails where all of them are required, and skips elsewhere."""
    path = shutil.which(binary, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        message = f"{binary} is not installed"
        (pytest.fail if os.environ.get("LBKIT_REQUIRE") else pytest.skip)(message)
    return path


class DnsServer(ServerProcess):
    """What the servers of this kind have in common: an address, and changes by dynamic update."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.port = free_port()
        self._home = tempfile.TemporaryDirectory(prefix=f"{name}-")
        self.home = Path(self._home.name)

    @property
    def nameserver(self) -> str:
        return f"127.0.0.1:{self.port}"

    def is_ready(self) -> bool:
        question = dns.message.make_query(ZONE, "SOA")
        try:
            return bool(dns.query.tcp(question, "127.0.0.1", timeout=1.0, port=self.port).answer)
        except Exception:
            return False

    def replace(
        self,
        name: str,
        kind: str,
        records: Sequence[str],
        *,
        addresses: Mapping[str, Sequence[str]] | None = None,
        ttl: int = TTL,
    ) -> None:
        """Make these all the records of a kind that a name has, and these all the addresses of other names, at once."""
        update = dns.update.UpdateMessage(ZONE)
        _set(update, name, kind, records, ttl)
        for other, texts in (addresses or {}).items():
            _set(update, other, "A", [one for one in texts if ":" not in one], ttl)
            _set(update, other, "AAAA", [one for one in texts if ":" in one], ttl)
        response = dns.query.tcp(update, "127.0.0.1", timeout=10.0, port=self.port)
        assert response.rcode() == dns.rcode.NOERROR, dns.rcode.to_text(response.rcode())

    def close(self) -> None:
        super().close()
        self._home.cleanup()


class Knot(DnsServer):
    """Knot."""

    def __init__(self) -> None:
        self._binary = require("knotd")
        super().__init__("knot")
        (self.home / "knot.conf").write_text(_CONFIG.format(home=self.home, port=self.port))

    def argv(self) -> Sequence[str]:
        zone = self.home / "test.lb.zone"
        if not zone.exists():  # the first time, and after `purge`
            zone.write_text(_START)
        return [self._binary, "-c", str(self.home / "knot.conf")]

    def purge(self) -> None:
        """Lose the zone: what is asked of it is answered with SERVFAIL from now on."""
        command = [require("knotc"), "-s", str(self.home / "knot.sock"), "-b", "-f", "zone-purge", "test.lb"]
        subprocess.run(command, check=True, capture_output=True, timeout=20)


def _set(update: dns.update.UpdateMessage, name: str, kind: str, records: Sequence[str], ttl: int) -> None:
    update.delete(name, kind)
    for one in records:
        update.add(name, ttl, kind, one)
