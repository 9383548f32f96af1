"""A whole Kubernetes node as process 1 of its own network, mount and process namespaces. python node.py FOLDER BIN

Everything listens inside these namespaces only, and whoever ends this process ends all of it.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

ADDRESS, PODS, SERVICES = "10.77.0.1", "10.88.0.0/24", "10.96.0.0/16"
SERVER = f"https://{ADDRESS}:6443"
NAMES = "DNS:localhost,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
SYSCTLS = {"vm/overcommit_memory": 1, "kernel/panic": 10, "kernel/panic_on_oops": 1}

CONTAINERD = """\
version = 2
root = "{folder}/containerd/root"
state = "{folder}/containerd/state"
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
"""
NETWORK = """\
{{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {{"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
   "ipam": {{"type": "host-local", "dataDir": "{folder}/addresses",
            "ranges": [[{{"subnet": "{pods}"}}]], "routes": [{{"dst": "0.0.0.0/0"}}]}}}},
  {{"type": "portmap", "capabilities": {{"portMappings": true}}}}]}}
"""
KUBELET = """\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
cgroupDriver: cgroupfs
clusterDomain: cluster.local
clusterDNS: [{address}]
failSwapOn: false
resolvConf: /dev/null
evictionHard: {{memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}}
imageGCHighThresholdPercent: 100
syncFrequency: 10s
"""
KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{{name: node, cluster: {{server: "{server}", certificate-authority-data: "{authority}"}}}}]
users: [{{name: admin, user: {{token: "{token}"}}}}]
contexts: [{{name: node, context: {{cluster: node, user: admin}}}}]
current-context: node
"""


def sh(*command: object, **options: object) -> None:
    subprocess.run([str(word) for word in command], check=True, **options)  # type: ignore[call-overload]


def network() -> None:
    sh("ip", "link", "set", "lo", "up")
    sh("ip", "link", "add", "node0", "type", "bridge")
    sh("ip", "address", "add", f"{ADDRESS}/24", "dev", "node0")
    sh("ip", "link", "set", "node0", "up")
    sh("ip", "route", "add", SERVICES, "dev", "node0")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def mounts(folder: Path) -> None:
    """Shared mounts as the kubelet wants them, and private files in place of settings of the whole machine."""
    sh("mount", "--make-rshared", "/")
    Path("/run/netns").mkdir(exist_ok=True)
    sh("mount", "-t", "tmpfs", "none", "/run/netns")
    sh("mount", "--make-rshared", "/run/netns")
    for name, value in SYSCTLS.items():
        file = folder / name.replace("/", "_")
        file.write_text(f"{value}\n")
        sh("mount", "--bind", file, f"/proc/sys/{name}")


def keys(folder: Path) -> str:
    """Certificates for a day and a token, which is returned."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    sh("openssl", "genrsa", "-out", "sa.key", "2048", **quiet)
    sh("openssl", "rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub", **quiet)
    new = ("openssl", "req", "-newkey", "rsa:2048", "-nodes")
    sh(*new, "-x509", "-days", "1", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ca", **quiet)
    sh(*new, "-keyout", "api.key", "-out", "api.csr", "-subj", "/CN=kube-apiserver", **quiet)
    (folder / "names").write_text(f"subjectAltName=IP:127.0.0.1,IP:{ADDRESS},IP:10.96.0.1,{NAMES}\n")
    signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1", "-extfile", "names")
    sh("openssl", "x509", "-req", "-in", "api.csr", "-out", "api.crt", *signed, **quiet)
    token = secrets.token_hex(16)
    (folder / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
    return token


class Node:
    """The daemons, each with its log in the folder."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.folder, self.binaries = folder, binaries

    def start(self, program: str, *arguments: str) -> None:
        here = self.binaries / program
        with (self.folder / f"{Path(program).name}.log").open("w") as log:
            subprocess.Popen([str(here if here.exists() else program), *arguments], stdout=log, stderr=log)

    def control_plane(self) -> None:
        local = "http://127.0.0.1"
        self.start(
            "etcd",
            f"--data-dir={self.folder}/etcd",
            f"--listen-client-urls={local}:2379",
            f"--advertise-client-urls={local}:2379",
            f"--listen-peer-urls={local}:2380",
            f"--initial-advertise-peer-urls={local}:2380",
            f"--initial-cluster=default={local}:2380",
        )
        self.start(
            "kube-apiserver",
            f"--etcd-servers={local}:2379",
            f"--advertise-address={ADDRESS}",
            "--secure-port=6443",
            "--tls-cert-file=api.crt",
            "--tls-private-key-file=api.key",
            "--client-ca-file=ca.crt",
            "--token-auth-file=tokens.csv",
            "--service-account-key-file=sa.pub",
            "--service-account-signing-key-file=sa.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            f"--service-cluster-ip-range={SERVICES}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--cert-dir={self.folder}",
        )
        self.wait("kubectl", "--kubeconfig=kubeconfig", "get", "--raw", "/readyz")
        me = ("--kubeconfig=kubeconfig", "--leader-elect=false", "--bind-address=127.0.0.1")
        signing = ("--service-account-private-key-file=sa.key", "--root-ca-file=ca.crt")
        self.start("kube-controller-manager", *me, *signing, f"--cluster-cidr={PODS}")
        self.start("kube-scheduler", *me)

    def containers(self, images: list[Path]) -> None:
        self.start("containerd", "--config=containerd.toml")
        self.wait("ctr", "-a", "containerd.sock", "version")
        for image in images:
            sh("ctr", "-a", "containerd.sock", "-n", "k8s.io", "images", "import", image, stdout=subprocess.DEVNULL)
        socket = f"unix://{self.folder}/containerd.sock"
        self.start(
            "kubelet",
            "--config=kubelet.yaml",
            "--kubeconfig=kubeconfig",
            f"--root-dir={self.folder}/kubelet",
            f"--cert-dir={self.folder}",
            "--hostname-override=node",
            f"--node-ip={ADDRESS}",
            "--container-runtime=remote",
            f"--container-runtime-endpoint={socket}",
            f"--image-service-endpoint={socket}",
            "--network-plugin=cni",
        )
        kept = ("--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0s")
        proxy = (*kept, "--conntrack-tcp-timeout-close-wait=0s", "--proxy-mode=iptables", "--hostname-override=node")
        self.start("kube-proxy", "--kubeconfig=kubeconfig", f"--cluster-cidr={PODS}", *proxy)
        names = str(Path(__file__).with_name("names.py"))
        self.start(sys.executable, names, "kubeconfig", ADDRESS)

    def wait(self, *command: str) -> None:
        for _ in range(300):
            if subprocess.run(command, capture_output=True).returncode == 0:
                return
            time.sleep(0.2)
        raise TimeoutError(" ".join(command))


def main() -> None:
    folder, binaries, *images = map(Path, sys.argv[1:])
    os.chdir(folder)
    network()
    mounts(folder)
    authority = base64.b64encode  # of the certificate, once it is there
    token = keys(folder)
    settings = {"folder": folder, "pods": PODS, "address": ADDRESS, "server": SERVER, "token": token}
    settings["authority"] = authority((folder / "ca.crt").read_bytes()).decode()
    (folder / "cni").mkdir()
    for name, text in {
        "kubeconfig": KUBECONFIG,
        "containerd.toml": CONTAINERD,
        "cni/pods.conflist": NETWORK,
        "kubelet.yaml": KUBELET,
    }.items():
        (folder / name).write_text(text.format(**settings))
    node = Node(folder, binaries)
    node.control_plane()
    node.containers(images)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    while True:  # whoever lost its parent is a child of process 1
        with contextlib.suppress(ChildProcessError):
            os.wait()
        time.sleep(0.1)


if __name__ == "__main__":
    main()
