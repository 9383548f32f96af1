"""Shared by all tests. Its place puts this folder on the import path, for `support`."""

import os

os.environ.pop("WANDB_API_KEY", None)  # a sweep of a test is tracked nowhere unless the test says so
