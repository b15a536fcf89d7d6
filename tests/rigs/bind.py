"""A real BIND with the zone test.lb: unlike Knot it puts what there is room for into a truncated answer."""

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
  max-udp-size 1232;
}};
controls {{ }};
logging {{ channel errors {{ stderr; severity warning; }}; category default {{ errors; }}; }};
zone "test.lb" {{
  type primary;
  file "{home}/test.lb.zone";
  allow-update {{ 127.0.0.1; }};
  max-records-per-type 0;
}};
"""
_START = "$TTL 1\n@ 1 SOA ns.other. root.other. 1 60 60 600 1\n@ 1 NS ns.other.\n"


class Bind(DnsServer):
    """BIND; a truncated answer has a part of the records in it only where the question came without EDNS."""

    def __init__(self) -> None:
        self._binary = require("named")
        super().__init__("bind")
        (self.home / "named.conf").write_text(_CONFIG.format(home=self.home, port=self.port))
        (self.home / "test.lb.zone").write_text(_START)

    def argv(self) -> Sequence[str]:
        return [self._binary, "-f", "-c", str(self.home / "named.conf"), "-n", "1"]
