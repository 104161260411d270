"""Addresses of this host, as others see them."""

from __future__ import annotations

import pytest

from engine.errors import LaunchError
from engine.launch.ranks.addresses import address_of, interface_towards, seen_by


def test_a_host_alone_is_seen_by_itself_only():
    assert seen_by([]) == "127.0.0.1"


def test_a_named_interface_decides():
    assert seen_by(["somewhere"], "lo") == address_of("lo") == "127.0.0.1"
    with pytest.raises(LaunchError, match="no interface ib7 with an IPv4 address here: expected one of .*lo"):
        seen_by([], "ib7")


def test_an_interface_leads_to_an_address():
    assert interface_towards("127.0.0.1") == "lo"
    with pytest.raises(LaunchError, match="no network interface here reaches nowhere.invalid: name one in the targets"):
        interface_towards("nowhere.invalid")


def test_a_name_that_means_this_host_is_no_way_to_others():
    assert seen_by(["localhost"]) == seen_by(["nowhere.invalid"])  # the first outward address, if there is one
