"""Certificates for tests: an authority of our own, good certificates for any names, and each kind of bad one."""

import datetime as dt
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class CertFiles:
    """A server's certificate chain and key, as files; what ``--tls`` and ``ssl.SSLContext.load_cert_chain`` want."""

    cert: Path
    key: Path


class Authority:
    """A certificate authority that only clients with its `client_context` trust; files go to `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._authority = trustme.CA()
        self._stranger = trustme.CA()
        self._issued = 0

    def issue(self, *names: str) -> CertFiles:
        """A good certificate for these DNS names and IP addresses."""
        return self._write(self._authority.issue_cert(*names))

    def wrong_name(self) -> CertFiles:
        """From the trusted authority, for a name nobody asks for."""
        return self.issue("somebody-else.invalid")

    def untrusted(self, *names: str) -> CertFiles:
        """For these names, from an authority that clients do not know."""
        return self._write(self._stranger.issue_cert(*names))

    def expired(self, *names: str) -> CertFiles:
        """For these names, from the trusted authority, but no longer valid."""
        now = dt.datetime.now(dt.UTC)
        long_ago, yesterday = now - dt.timedelta(days=30), now - dt.timedelta(days=1)
        return self._write(self._authority.issue_cert(*names, not_before=long_ago, not_after=yesterday))

    def client_context(self) -> ssl.SSLContext:
        """A context that verifies as strictly as the default one, and trusts this authority alone."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._authority.configure_trust(context)
        return context

    def _write(self, leaf: trustme.LeafCert) -> CertFiles:
        self._issued += 1
        files = CertFiles(self._directory / f"cert{self._issued}.pem", self._directory / f"key{self._issued}.pem")
        files.cert.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(files.key)
        return files
