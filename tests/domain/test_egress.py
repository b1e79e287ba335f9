"""Where the gateway may be sent by whoever adds models."""

import pytest

from bursar.domain.egress import Egress, forbidden_address, forbidden_host

METADATA = [
    "169.254.169.254",
    "169.254.170.2",
    "169.254.169.254.",
    "2852039166",
    "0xa9fea9fe",
    "0xa9.0xfe.0xa9.0xfe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "169.16689662",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "fd20:ce::254",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "metadata.google.internal",
    "Metadata.Google.Internal.",
    "metadata",
    "instance-data.ec2.internal",
]
PRIVATE = [
    *("127.0.0.1", "127.1", "0", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "localhost"),
    *("api.localhost", "::1", "::", "fc00::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "224.0.0.1"),
]
PUBLIC = [
    *("api.openai.com", "example.internal", "8.8.8.8", "134744072", "2606:4700:4700::1111", "64:ff9b::808:808"),
    *("1e100.net", "0xhost.example", "256.256.256.256.256", "999.1", "08.1"),
]


@pytest.mark.parametrize("host", METADATA)
def test_metadata_services_are_nobodys_upstream(host: str) -> None:
    assert forbidden_host(host, Egress.NO_METADATA) is not None
    assert forbidden_host(host, Egress.PUBLIC) is not None
    assert forbidden_host(host, Egress.ANY) is None


@pytest.mark.parametrize("host", PRIVATE)
def test_private_addresses_where_the_operator_has_them(host: str) -> None:
    assert forbidden_host(host, Egress.NO_METADATA) is None
    assert forbidden_host(host, Egress.PUBLIC) is not None


@pytest.mark.parametrize("host", PUBLIC)
def test_everything_else(host: str) -> None:
    assert forbidden_host(host, Egress.PUBLIC) is None


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1%2", "::ffff:169.254.169.254"])
def test_what_a_name_leads_to_is_judged_alike(address: str) -> None:
    assert forbidden_address(address, Egress.NO_METADATA) is not None
    assert forbidden_address(address, Egress.ANY) is None
    assert forbidden_address("10.0.0.1", Egress.NO_METADATA) is None
