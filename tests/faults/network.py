"""Hosts on one machine: a network namespace each, joined by a bridge in a namespace of its own, with no way out."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

NET = "10.78.0"


class Network:
    """Its hosts by name; `cut`, `slow` and `heal` do to the link of a host what a bad cable or switch would."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._prefix = f"stackpop{os.getpid()}"
        self.addresses = {host: f"{NET}.{number}" for number, host in enumerate(hosts, 1)}

    def within(self, host: str) -> list[str]:
        """What runs a command on a host."""
        return ["ip", "netns", "exec", self._namespace(host)]

    def cut(self, host: str) -> None:
        """Silently: nobody is told of a closed connection."""
        self._at_switch("ip", "link", "set", host, "down")

    def heal(self, host: str) -> None:
        self._at_switch("ip", "link", "set", host, "up")

    def slow(self, host: str, rate: str) -> None:
        """What goes to a host waits its turn, for at most 0.4 s; more is dropped and sent again."""
        queue = ["tbf", "rate", rate, "burst", "16kbit", "latency", "400ms"]
        self._at_switch("tc", "qdisc", "replace", "dev", host, "root", *queue)

    def build(self) -> None:
        _run("ip", "netns", "add", self._namespace("switch"))
        self._at_switch("ip", "link", "add", "bridge0", "type", "bridge")
        self._at_switch("ip", "link", "set", "bridge0", "up")
        for host, address in self.addresses.items():
            here, switch = self._namespace(host), self._namespace("switch")
            _run("ip", "netns", "add", here)
            ends = ["eth0", "type", "veth", "peer", "name", host, "netns", switch]
            _run("ip", "-n", here, "link", "add", *ends)
            self._at_switch("ip", "link", "set", host, "master", "bridge0", "up")
            _run("ip", "-n", here, "addr", "add", f"{address}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                _run("ip", "-n", here, "link", "set", link, "up")

    def remove(self) -> None:
        for host in (*self.addresses, "switch"):
            subprocess.run(["ip", "netns", "del", self._namespace(host)], check=False, capture_output=True)

    def _namespace(self, host: str) -> str:
        return f"{self._prefix}-{host}"

    def _at_switch(self, *command: str) -> None:
        _run(*self.within("switch"), *command)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def network(*hosts: str) -> Iterator[Network]:
    """Hosts for a while; the test is skipped where this machine may not have them."""
    if shutil.which("ip") is None or shutil.which("tc") is None:
        pytest.skip("no network of its own: needs the commands ip and tc, of iproute2")
    made = Network(hosts)
    try:
        try:
            made.build()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network of its own: needs root and network namespaces ({error.stderr.decode().strip()})")
        yield made
    finally:
        made.remove()
