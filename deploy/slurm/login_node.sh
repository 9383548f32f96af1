#!/usr/bin/env bash
# A login node submits workers: client and scheduler run here, each worker is a job of its own.
#
#   deploy/slurm/login_node.sh sweeps/allmatrices.yaml [more options of `stackpop sweep`]
#
# STACKPOP_CLUSTER: the cluster file, by default cluster.yaml beside this script.
# STACKPOP_PYTHON: of an environment with stackpop[jobqueue,tls] that jobs see as well, by default .venv/bin/python.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
exec "${STACKPOP_PYTHON:-.venv/bin/python}" -m stackpop sweep "$@" --cluster "${STACKPOP_CLUSTER:-$here/cluster.yaml}"
