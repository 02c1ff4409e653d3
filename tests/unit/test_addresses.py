"""Which addresses are public, and which are one client."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superres.service.addresses import is_public, network_of

PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.0.9",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "168.63.129.16",  # Azure's platform
    "192.0.0.8",
    "192.0.0.9",
    "192.0.0.192",  # Oracle's metadata
    "192.31.196.1",
    "192.52.193.1",
    "192.88.99.1",
    "192.175.48.1",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808",
    "64:ff9b::168.63.129.16",
    "100::1",
    "100:0:0:1::1",
    "2001::1",
    "2001:1::1",
    "2001:2::1",
    "2001:4:112::1",
    "2001:20::1",
    "2001:db8::1",
    "2001:0:a9fe:a9fe:8000:63bf:f7f7:f7f7",  # Teredo: a private server, a public client
    "2620:4f:8000::1",
    "3fff::1",
    "3fff:fff:ffff::1",
    "4000::1",
    "5f00::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",  # Teredo of 127.0.0.1
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.0.1",
    "172.32.0.1",
    "168.63.129.15",
    "192.0.1.1",
    "192.88.98.1",
    "2001:200::1",
    "2606:4700:4700::1111",
    "2a00:1450:4001:81b::200e",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
]
_REFUSED = [
    ipaddress.ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        *("192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.175.48.0/24"),
        "168.63.129.16/32",
    )
]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_public(address):
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_public_unless_iana_reserved_it(address):
    assert is_public(str(address)) == all(address not in network for network in _REFUSED)


@given(st.ip_addresses(v=4))
def test_an_embedded_ipv4_address_is_judged_as_itself(address):
    number = int(address)
    high, low = number >> 16, number & 0xFFFF
    teredo = number ^ 0xFFFFFFFF
    embedding = [
        f"::ffff:{address}",
        f"64:ff9b::{address}",
        f"2002:{high:x}:{low:x}::1",
        f"2001:0:808:808:0:0:{teredo >> 16:x}:{teredo & 0xFFFF:x}",
    ]
    assert {is_public(text) for text in embedding} == {is_public(str(address))}


@given(st.ip_addresses(v=6))
def test_a_public_ipv6_address_is_global_unicast_or_embeds_a_public_ipv4_address(address):
    if is_public(str(address)):
        nat64 = ipaddress.ip_network("64:ff9b::/96")
        unicast = ipaddress.ip_network("2000::/3")
        assert address in unicast or address in nat64 or address.ipv4_mapped


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("8.8.8.8", "8.8.8.8"),
        ("::ffff:8.8.8.8", "8.8.8.8"),
        ("2001:200:1:2:3:4:5:6", "2001:200:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
        ("", ""),
    ],
)
def test_a_client_is_an_ipv4_address_or_a_network_of_ipv6(address, network):
    assert network_of(address) == network
