"""What all tests share."""

import signal
from collections.abc import Iterator

import pytest

from tests.postgres import new_database, running

# A shell that starts a command in the background makes it ignore Ctrl-C, and so do all the processes that the tests
# start; the tests of Ctrl-C need it as a terminal would have it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a Postgres server."""
    pytest.importorskip("psycopg")
    with running() as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """The URL of an empty database of its own."""
    return new_database(postgres_server)
