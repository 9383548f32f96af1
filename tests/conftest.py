"""Shared by all tests. Its place puts this folder on the import path, for `support`, `command` and other helpers."""

import os

import pytest
from hypothesis import HealthCheck, settings

os.environ.pop("WANDB_API_KEY", None)  # a sweep of a test is tracked nowhere unless the test says so
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]  # a test meets the bucket that it made, and no other

# How long an example takes says nothing on a machine that others use.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that start the daemons of a batch system, or a browser, run when asked for by their marker only."""
    for marker in ("slurm", "browser"):
        if marker not in config.option.markexpr:
            items[:] = [item for item in items if marker not in item.keywords or marker not in item.path.name]
