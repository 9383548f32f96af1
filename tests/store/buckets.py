"""What is in the bucket of the S3 server."""

from __future__ import annotations

import obstore
from obstore.store import S3Store

from s3_server import BUCKET


def objects(url: str, address: str) -> dict[str, bytes]:
    """Everything in the bucket whose name begins like the store's."""
    bucket = S3Store(BUCKET, config={"endpoint": address}, client_options={"allow_http": True})
    prefix = url.removeprefix(f"s3://{BUCKET}/")
    folder = prefix.rpartition("/")[0]
    names = [found["path"] for batch in obstore.list(bucket, folder) for found in batch]
    return {name: bytes(obstore.get(bucket, name).bytes()) for name in names if name.startswith(prefix)}


def put(url: str, address: str, content: bytes) -> None:
    bucket = S3Store(BUCKET, config={"endpoint": address}, client_options={"allow_http": True})
    obstore.put(bucket, url.removeprefix(f"s3://{BUCKET}/"), content)
