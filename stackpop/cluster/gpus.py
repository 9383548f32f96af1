"""Workers with a GPU: one a GPU, which it alone sees and offers as a resource."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from distributed import Client, Nanny

from stackpop.devices import RESOURCE, VISIBLE, Device, has_gpu, no_gpu, visible_gpus
from stackpop.errors import ClusterError


class OneGPU(Nanny):
    """A worker of a local cluster that sees one GPU, the one of its number, and offers it as a resource."""

    def __init__(self, gpus: Sequence[str], *args: Any, name: int, **options: Any) -> None:
        options |= {"name": name, "env": {VISIBLE: gpus[name]}, "resources": {RESOURCE: 1}}
        super().__init__(*args, **options)


class OfferedGPUs:
    """The GPUs that workers offer to trainings on a device.

    Trainings that need a GPU go to the workers that offer one, which must have it; those of `auto` do so if any worker
    offers one, for which is asked once.

    resources: what a training asks of a worker.
    """

    def __init__(self, client: Client, device: Device) -> None:
        self._client, self._device = client, device
        self._checked: set[str] = set()
        self._asked = False
        self.resources: dict[str, float] = {RESOURCE: 1} if device == "cuda" else {}

    def slots(self, threads: Mapping[str, int]) -> int:
        """Trainings that workers, threads by address, can run at a time: one a thread, or one a GPU.

        Raises:
            ClusterError: a worker offers a GPU that it cannot use.
        """
        offered = {} if self._device == "cpu" else self._offered()
        if self._device == "auto" and not self._asked and threads:
            self._asked, self.resources = True, {RESOURCE: 1} if offered else {}
        return int(sum((offered if self.resources else threads).values()))

    def needed(self, address: str) -> str:
        """What a worker that is waited for must have, in words, and how to start it."""
        if not self.resources:
            return ""
        return f" that offers a GPU (`dask worker {address} --nthreads 1 --resources {RESOURCE}=1`)"

    def _offered(self) -> dict[str, float]:
        """GPUs by worker, of those that offer any."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        found = {address: worker.get("resources", {}).get(RESOURCE, 0) for address, worker in workers.items()}
        offered = {address: gpus for address, gpus in found.items() if gpus}
        if self._device == "cuda":
            self._check(sorted(offered.keys() - self._checked))
        return offered

    def _check(self, addresses: list[str]) -> None:
        answers = self._client.run(has_gpu, workers=addresses, on_error="return") if addresses else {}
        for address, answer in answers.items():
            if answer is False:
                raise ClusterError(no_gpu(f"worker {address}"))
            if answer is True:
                self._checked.add(address)


def device_gpus(device: Device) -> list[str]:
    """This machine's GPUs that a device needs: none on the CPU, or where there are none."""
    return [] if device == "cpu" else visible_gpus()
