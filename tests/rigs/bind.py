"""A real BIND with the zone test.lb: unlike Knot it puts as many records into a truncated answer as there is room."""

from collections.abc import Sequence

from tests.rigs.knot import DnsServer, require

_CONFIG = """
options {{
  directory "{home}";
  listen-on port {port} {{ 127.0.0.1; }};
  listen-on-v6 {{ none; }};
  pid-file none;
  session-keyfile "{home}/session.key";
  recursion no;
  notify no;
  minimal-responses no;
  dnssec-validation no;
  max-udp-size 512;
}};
controls {{ }};
zone "test.lb" {{
  type primary;
  file "{home}/test.lb.zone";
  allow-update {{ 127.0.0.1; }};
  max-records-per-type 0;
}};
"""
_START = "$TTL 1\n@ 1 SOA ns.other. root.other. 1 60 60 600 1\n@ 1 NS ns.other.\n"


class Bind(DnsServer):
    """BIND, which answers with at most 512 bytes over UDP."""

    def __init__(self) -> None:
        super().__init__("bind")
        self._binary = require("named")
        (self.home / "named.conf").write_text(_CONFIG.format(home=self.home, port=self.port))
        (self.home / "test.lb.zone").write_text(_START)

    def argv(self) -> Sequence[str]:
        return [self._binary, "-g", "-c", str(self.home / "named.conf"), "-n", "1"]
