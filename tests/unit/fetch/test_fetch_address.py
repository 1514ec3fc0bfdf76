from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.errors import ConfigInvalid, NotPermitted
from colony.fetch.address import allowed_targets, public_address, target_of


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "172.16.0.1",
        "172.31.255.255", "192.168.0.1", "169.254.0.1", "169.254.169.254", "100.64.0.1", "100.127.255.255",
        "198.18.0.1", "198.19.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1", "198.51.100.7", "203.0.113.9",
        "192.88.99.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16",
        "::", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "::127.0.0.1",
        "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::8.8.8.8", "64:ff9b:1::1", "100::1", "2001::1",
        "2001:db8::1", "2001:10::1", "2001:20::1", "2002:7f00:1::", "2002:808:808::", "3fff::1", "5f00::1",
        "fc00::1", "fd00:ec2::254", "fdff::1", "fe80::1", "fe80::1%eth0", "2606:4700::1%lo", "fec0::1", "ff02::1",
        "ff0e::1", "", "localhost", "127.1", "1.2.3", "8.8.8.8/8",
    ],
)  # fmt: skip
def test_not_public(address):
    assert not public_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "93.184.216.34",
        "172.32.0.1",
        "100.128.0.1",
        "198.20.0.1",
        "::ffff:8.8.8.8",
        "2606:4700::1111",
    ],
)
def test_public(address):
    assert public_address(address)


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_as_public_as_the_one_inside(address):
    assert public_address(f"::ffff:{address}") == public_address(str(address))
    assert not public_address(f"::{address}")


@given(st.ip_addresses())
def test_what_python_calls_private_is_never_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address):
    mapped = isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None
    if public_address(str(address)) and not mapped:
        assert address.is_global
        assert not address.is_multicast


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com", "//example.com", "file:///etc/passwd", "gopher://example.com/", "ftp://example.com/",
        "data:text/plain,x", "javascript:alert(1)", "unix:/run/x.sock", "http://", "http:///path", "http://user@host/",
        "http://user:pass@host/", "http://@host/", "http://good.example@127.0.0.1/", "http://host:0/",
        "http://host:65536/", "http://host:x/", "http://host:-1/", "http://ho st/", "http://host/a b", "http://host\\@evil/",
        "http://host/\r\nX: y", "http://host\x00/", "http://h\u00f6st/", "http://[::1/", "http://[zz]/", "http://[fe80::1%25eth0]/",
        "http://%31%32%37.0.0.1/", "http://*/", "http://-a/", "http://a..b\t/", "http://host/" + "a" * 3000,
    ],
)  # fmt: skip
def test_not_a_url_to_fetch(url):
    with pytest.raises(NotPermitted) as caught:
        target_of(url)
    assert len(str(caught.value)) < 200
    assert "pass" not in str(caught.value) or "password is" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "clean", "host", "port", "header"),
    [
        ("http://Example.COM", "http://example.com/", "example.com", 80, "example.com"),
        ("https://example.com/a?b=c#d", "https://example.com/a?b=c", "example.com", 443, "example.com"),
        ("http://example.com:8080/", "http://example.com:8080/", "example.com", 8080, "example.com:8080"),
        ("https://example.com:443/", "https://example.com/", "example.com", 443, "example.com"),
        (
            "http://[2606:4700::1111]:81/x",
            "http://[2606:4700::1111]:81/x",
            "2606:4700::1111",
            81,
            "[2606:4700::1111]:81",
        ),
        ("http://127.1/", "http://127.1/", "127.1", 80, "127.1"),
    ],
)
def test_urls_taken_apart(url, clean, host, port, header):
    assert target_of(url) == (clean, host, port, header)


def test_exceptions():
    assert allowed_targets(["LOCALHOST:8080", "[::1]:80", "10.0.0.1:443"]) == {
        ("localhost", 8080),
        ("::1", 80),
        ("10.0.0.1", 443),
    }


@pytest.mark.parametrize(
    "entry", ["", "host", "host:", ":80", "host:0", "host:70000", "host:8080x", "*:80", "10.0.0.0/8:80"]
)
def test_bad_exceptions(entry):
    with pytest.raises(ConfigInvalid):
        allowed_targets([entry])
