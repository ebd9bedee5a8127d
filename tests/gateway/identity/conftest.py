"""One provider with its authorities for all tests of a session: keys cost time, and nothing changes them."""

import pytest

from gateway.identity.certificate import TrustList
from tests.helpers.stir import Authority, Provider, trust


@pytest.fixture(scope="session")
def root() -> Authority:
    return Authority("STI Root")


@pytest.fixture(scope="session")
def provider(root: Authority) -> Provider:
    return Provider(Authority("STI Intermediate", issuer=root))


@pytest.fixture(scope="session")
def trusted(root: Authority) -> TrustList:
    return trust(root)
