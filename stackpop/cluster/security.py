"""TLS for all Dask traffic of a cluster, by one setting."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from distributed.security import Security

from stackpop.errors import ClusterError, explain
from stackpop.spec.cluster import ClusterSettings, TLSFiles


def check_security(settings: ClusterSettings) -> None:
    """Raises ClusterError unless the files of `tls` can be read, or certificates can be made."""
    tls = getattr(settings, "tls", None)
    if tls == "auto" and importlib.util.find_spec("cryptography") is None:
        remedy = "pip install 'stackpop[tls]', or give files"
        got = "auto without the package cryptography"
        raise ClusterError(explain("cluster.tls", expected="certificates that can be made", got=got, remedy=remedy))
    if isinstance(tls, TLSFiles):
        for key, name in tls.model_dump().items():
            _check_file(key, name)


def _check_file(key: str, name: str) -> None:
    try:
        readable = "-----BEGIN" in Path(name).read_text()
        reason = "holds no PEM"
    except (OSError, ValueError) as error:
        readable, reason = False, (getattr(error, "strerror", None) or "binary data").lower()
    if not readable:
        got = f"{name} ({reason})"
        raise ClusterError(explain(f"cluster.tls.{key}", expected="a PEM file", got=got, remedy="check the path"))


def security_of(settings: ClusterSettings) -> Security | None:
    """What makes every connection encrypted, with both sides showing a certificate; None without `tls`.

    `auto` makes one certificate for all, which lives in memory and ends with the cluster: who does not have it is
    turned away.
    """
    tls = getattr(settings, "tls", None)
    if tls == "auto":
        made: Security = Security.temporary()
        return made
    if not isinstance(tls, TLSFiles):
        return None
    sides = {
        f"tls_{side}_{part}": getattr(tls, part)
        for side in ("client", "scheduler", "worker")
        for part in ("cert", "key")
    }
    return Security(require_encryption=True, tls_ca_file=tls.ca_file, **sides)
