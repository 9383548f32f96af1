"""Where the tests of a store keep it: in a folder, or in a bucket of an S3 server. No warning is let pass."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from s3_server import BUCKET, Proxy, login, proxy, server


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "toy.zarr"


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server(tmp_path_factory.mktemp("moto")) as address:
        yield address


@pytest.fixture
def at(s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the server, with a login for it in the environment."""
    for name, value in login(s3).items():
        monkeypatch.setenv(name, value)
    return s3


@pytest.fixture
def url(at: str, request: pytest.FixtureRequest) -> str:
    """Where a test keeps its store."""
    return f"s3://{BUCKET}/{request.node.name.translate(str.maketrans('[]/:', '____'))}/toy.zarr"


@pytest.fixture
def through(at: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The same server behind a proxy."""
    with proxy(at) as state:
        monkeypatch.setenv("AWS_ENDPOINT_URL", state.address)
        yield state
