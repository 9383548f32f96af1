"""Shared by all tests. Its place puts this folder on the import path, for `support`."""

import os

os.environ.pop("WANDB_API_KEY", None)  # a sweep of a test is tracked nowhere unless the test says so
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]  # a test meets the bucket that it made, and no other
