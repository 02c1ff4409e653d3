"""What can be said of an address by looking at it."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# All special-purpose addresses that IANA lists (RFC 6890), whether it calls them globally reachable
# or not, with multicast, and what a cloud serves its own machines at a public address.
# Python's ipaddress knows some of them, depending on its version.
_SPECIAL = [
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24"),
        *("192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # Azure's platform, with what a virtual machine may know of itself
        *("2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20"),
    )
]
# What IANA has assigned as global unicast: metadata services and the like are outside.
_GLOBAL_UNICAST = ip_network("2000::/3")
_NAT64 = ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a service that listens on this host."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def network_of(address: str) -> str:
    """What limits count as one client: an IPv4 address, or the /64 of an IPv6 one.

    A customer of a provider has a whole /64 at least. Loopback stays an address.
    """
    try:
        ip = ip_address(address.split("%")[0])
    except ValueError:
        return address
    if not isinstance(ip, IPv6Address) or ip.is_loopback:
        return str(ip)
    if ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return str(ip_network((ip, 64), strict=False))


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet.

    An IPv6 address that embeds IPv4 ones (mapped, NAT64, 6to4, Teredo) is judged by those.
    """
    ip = ip_address(address.split("%")[0])
    if isinstance(ip, IPv6Address):
        embedded = _embedded_in(ip)
        if embedded:
            return all(is_public(str(each)) for each in embedded)
        if ip not in _GLOBAL_UNICAST:
            return False
    return not any(ip in network for network in _SPECIAL if network.version == ip.version)


def _embedded_in(ip: IPv6Address) -> list[IPv4Address]:
    if ip in _NAT64:
        return [IPv4Address(int(ip) & 0xFFFFFFFF)]
    if ip.teredo:
        return list(ip.teredo)
    return [each for each in (ip.ipv4_mapped, ip.sixtofour) if each is not None]
