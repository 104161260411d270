"""Which of this host's addresses other hosts see, and which interface has it."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

import psutil

from engine.errors import LaunchError

LOOPBACK = "127.0.0.1"


def seen_by(others: Iterable[str], interface: str = "") -> str:
    """This host's IPv4 address for other hosts: the interface's if one is named, loopback if there are no others.

    Raises
    ------
    LaunchError
        If the interface has no IPv4 address here.
    """
    if interface:
        return address_of(interface)
    others = list(others)
    if towards := next(filter(None, map(source_towards, others)), ""):
        return towards
    up = {name for name, facts in psutil.net_if_stats().items() if facts.isup and others}
    outward = (a for name, a in _addresses() if name in up and not ipaddress.ip_address(a).is_loopback)
    return next(outward, LOOPBACK)


def interface_towards(address: str) -> str:
    """The interface by which this host reaches an address; raises LaunchError if there is none."""
    source = source_towards(address, loopback=True)
    for name, own in _addresses():
        if own == source:
            return name
    raise LaunchError(
        f"no network interface here reaches {address}",
        action="name one in the targets file (interface), as ib0 or eth0",
    )


def address_of(interface: str) -> str:
    """The interface's first IPv4 address."""
    for name, address in _addresses():
        if name == interface:
            return address
    known = ", ".join(sorted({name for name, _ in _addresses()}))
    raise LaunchError(f"no interface {interface} with an IPv4 address here", hint=f"expected one of {known}")


def source_towards(host: str, *, loopback: bool = False) -> str:
    """The address that packets to a host would carry; '' if its name isn't known. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
        except OSError:
            return ""
        address = probe.getsockname()[0]
    return address if loopback or not ipaddress.ip_address(address).is_loopback else ""


def _addresses() -> list[tuple[str, str]]:
    found = psutil.net_if_addrs().items()
    return [(name, each.address) for name, addresses in found for each in addresses if each.family == socket.AF_INET]
