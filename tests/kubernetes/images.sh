#!/usr/bin/env bash
# images.sh FOLDER: the images of the try-out, as archives in FOLDER. No image registry is asked: the base is made
# from Debian's packages. PIP_FIND_LINKS, a folder of wheels, and PIP_EXTRA_INDEX_URL are passed on to the builds.
#
# Needs the Debian packages buildah, podman, runc, mmdebstrap, gcc and libc6-dev.
set -euo pipefail
folder=$(realpath "$1")
cd "$(dirname "$0")/../.."
mkdir -p "$folder/images"
export CONTAINERS_STORAGE_CONF=$folder/images/storage.conf CONTAINERS_CONF=$folder/images/containers.conf
cat > "$CONTAINERS_STORAGE_CONF" << END
[storage]
driver = "overlay"
graphroot = "$folder/images/graph"
runroot = "$folder/images/run"
END
cat > "$CONTAINERS_CONF" << 'END'
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
END

base=localhost/python:3.11
build() {
    local wheels=()
    [ -z "${PIP_FIND_LINKS:-}" ] || wheels=(-v "$PIP_FIND_LINKS:$PIP_FIND_LINKS:ro")
    buildah bud --layers --isolation chroot --network host -v /etc/ssl/certs:/etc/ssl/certs:ro "${wheels[@]}" \
        --build-arg "BASE=$base" --build-arg "PIP_FIND_LINKS=${PIP_FIND_LINKS:-}" \
        --build-arg "PIP_EXTRA_INDEX_URL=${PIP_EXTRA_INDEX_URL:-}" "$@"
}

if ! podman image exists "$base"; then
    mmdebstrap --quiet --variant=apt --include=python3,python3-venv,python3-pip,ca-certificates \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        bookworm "$folder/images/base.tar" "$(awk '/^URIs/ { print $2; exit }' /etc/apt/sources.list.d/debian.sources)"
    podman import -q "$folder/images/base.tar" "$base"
    rm "$folder/images/base.tar"
fi
build -f deploy/Dockerfile -t localhost/stackpop:0.1.0 .

operator=$(mktemp -d)
cp constraints.txt "$operator"
cat > "$operator/Dockerfile" << 'END'
ARG BASE
FROM ${BASE}
COPY constraints.txt /
RUN useradd kopf && pip install --break-system-packages -q -c /constraints.txt dask-kubernetes
USER 1000:1000
ENTRYPOINT ["kopf", "run", "-m", "dask_kubernetes.operator.controller"]
END
build -t localhost/operator:1 "$operator"

gcc -Os -static -DVERSION=v3.4 -o "$operator/pause" "$folder/source/build/pause/linux/pause.c"
printf 'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n' > "$operator/Dockerfile"
build -t localhost/pause:1 "$operator"
rm -r "$operator"

for name in stackpop:0.1.0 operator:1 pause:1; do
    rm -f "$folder/images/${name%:*}.tar"
    podman save -q --format docker-archive -o "$folder/images/${name%:*}.tar" "localhost/$name"
    podman image ls --format '{{.Repository}}:{{.Tag}} {{.Size}}' "localhost/$name"
done
