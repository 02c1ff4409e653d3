"""What can be said of an address by looking at it."""

from ipaddress import IPv6Address, ip_address, ip_network


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
