"""What comes of tasks in flight, on a cluster in this process."""

from __future__ import annotations

import time

import pytest
from distributed import Client, LocalCluster

from command import until
from stackpop.cluster import Workers
from stackpop.sweep import flight as flights
from stackpop.sweep.flight import Flight
from tiny_sweep import sweep


def test_a_result_that_is_lost_before_it_is_fetched_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a sweep has to ask for another worker, on clusters whose workers do not come back by themselves."""
    monkeypatch.setattr(flights, "FETCH_SECONDS", 0.5)
    spec = sweep(axes__matrix="[chicken]", axes__seed="[1]")
    run = spec.run((0, 0)).follower_spec()
    assert run is not None
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        flight = Flight(client, Workers(client), spec)
        with flight.open():
            task = flight.train_followers([((0, 0), run)])
            until(lambda: task.status == "finished")
            cluster.scale(0)
            until(lambda: not client.scheduler_info()["workers"])
            begun = time.monotonic()
            assert list(flight.landed()) == []
            assert time.monotonic() - begun < 30
            assert len(flight) == 1
            cluster.scale(1)
            landed = []
            until(lambda: landed.extend(flight.landed()) or landed)
            ((_, found),) = landed
            assert found[run.follower_id].arrays
            assert not flight
