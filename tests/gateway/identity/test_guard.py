"""Where a certificate's URL may lead (server-side request forgery)."""

import pytest

from gateway.identity.errors import FetchError
from gateway.identity.guard import Location, choose_address, is_public, locate


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("https://cr.example.com/a.pem", Location("cr.example.com", 443, "/a.pem")),
        ("https://cr.example.com:8443/a?b=c#d", Location("cr.example.com", 8443, "/a?b=c")),
        ("HTTPS://CR.example.com", Location("cr.example.com", 443, "/")),
        ("https://[2606:4700::1]/a", Location("2606:4700::1", 443, "/a")),
    ],
)
def test_https_url_is_taken_apart(url: str, location: Location) -> None:
    assert locate(url) == location


@pytest.mark.parametrize(
    "url",
    [
        "http://cr.example.com/a.pem",
        "ftp://cr.example.com/a.pem",
        "file:///etc/passwd",
        "https://cr.example.com:22/a.pem",
        "https://cr.example.com:0/",
        "https://cr.example.com:99999/",
        "https://cr.example.com:x/",
        "https://user@cr.example.com/",
        "https://good.example\\@evil.example/",
        "https:///a.pem",
        "https://",
        "https://[::1/",
        "https://a b/",
        "https://a\r\nHost: b/",
        "https://exämple.com/",
        "cr.example.com/a.pem",
        "",
        "https://cr.example.com/" + "a" * 1024,
    ],
)
def test_other_urls_are_not_followed(url: str) -> None:
    with pytest.raises(FetchError):
        locate(url)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "2606:4700::1", "::ffff:8.8.8.8"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1", "240.0.0.1",
        "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:0:1::1",
        "localhost", "",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


def test_first_address_is_chosen() -> None:
    assert choose_address("a.example", ["8.8.8.8", "8.8.4.4"]) == "8.8.8.8"


@pytest.mark.parametrize("addresses", [[], ["10.0.0.1"], ["8.8.8.8", "127.0.0.1"]])
def test_one_address_that_is_not_public_condemns_the_name(addresses: list[str]) -> None:
    with pytest.raises(FetchError):
        choose_address("a.example", addresses)
