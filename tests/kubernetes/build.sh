#!/usr/bin/env bash
# build.sh FOLDER: the parts of a Kubernetes 1.20.2 node, from the source package of Debian 12, into FOLDER/bin.
#
# About five minutes of one core. Needs the Debian packages golang-go and golang-github-modern-go-reflect2-dev and a
# `deb` entry for bookworm in sources.list.d. It is not a stock server: see the three changes below.
set -euo pipefail
folder=$(realpath "$1")
source=$folder/source
mkdir -p "$folder/bin" "$source"

fetch() { # with package lists of its own, so that the machine's sources stay as they are
    local apt
    apt=$(mktemp -d)
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    sed 's/^Types: deb$/Types: deb-src/' /etc/apt/sources.list.d/debian.sources > "$apt/list.sources"
    cat > "$apt/conf" << END
Dir::Etc::sourcelist "$apt/list.sources";
Dir::Etc::sourceparts "-";
Dir::State::lists "$apt/lists";
Dir::Cache "$apt/cache";
END
    (cd "$apt" && export APT_CONFIG=$apt/conf && apt-get -qq update && apt-get -qq source --download-only kubernetes)
    tar -xzf "$apt"/*.orig.tar.gz -C "$source" --strip-components=1
    tar -xJf "$apt"/*.debian.tar.xz -C "$source"
    rm -r "$apt"
}

change() {
    local patch file reflect=vendor/github.com/modern-go/reflect2
    while read -r patch; do patch -p1 -s < "debian/patches/$patch"; done < debian/patches/series
    # 1. The vendored reflect2 crashes when built with Go 1.18 or later; Debian's does not.
    rm -f $reflect/*.go $reflect/*.s
    cp /usr/share/gocode/src/github.com/modern-go/reflect2/*.{go,s} $reflect/
    # 2. The version, which a build outside of git does not know.
    for file in staging/src/k8s.io/{component-base/version,client-go/pkg/version}/base.go; do
        sed -i -E 's/^(\s*gitVersion\s*(string)?\s*= )".*"/\1"v1.20.2"/
                   s/^(\s*gitMajor) string\b.*/\1 string = "1"/
                   s/^(\s*gitMinor) string\b.*/\1 string = "20"/' "$file"
    done
    # 3. Servers since 1.27 tell the singular name of every resource, and the operator's client relies on it.
    sed -i -E 's/^(\t\tapiResource\.Kind = )resourceKind$/&\n\t\tif !isSubresource { apiResource.SingularName = strings.ToLower(resourceKind) }/' \
        staging/src/k8s.io/apiserver/pkg/endpoints/installer.go
}

generate() { # the OpenAPI definitions, which the source package leaves out
    local packages
    packages=$(grep -rlE --include='*.go' '^// \+k8s:openapi-gen=true' pkg staging/src/k8s.io \
        | grep -v -e _test.go -e /_examples/ | xargs -n1 dirname | sort -u \
        | grep -E '^pkg/|/(api|apimachinery|apiserver|kube-aggregator|apiextensions-apiserver|component-base|metrics|kube-controller-manager|kube-proxy|kube-scheduler|kubelet|cloud-provider|client-go|code-generator)(/|$)' \
        | sed -e 's#^staging/src/#k8s.io/kubernetes/vendor/#' -e 's#^pkg/#k8s.io/kubernetes/pkg/#' | paste -sd,)
    go build -o "$folder/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
    "$folder/openapi-gen" -O zz_generated.openapi --go-header-file hack/boilerplate/boilerplate.generatego.txt \
        -p k8s.io/kubernetes/pkg/generated/openapi -i "$packages" -r "$folder/violations"
}

cd "$source"
[ -e debian ] || { fetch && change; }
export GOPATH=$source/.go GOCACHE=$folder/cache GO111MODULE=off GOPROXY=off CGO_ENABLED=0
mkdir -p .go/src/k8s.io
[ -L .go/src/k8s.io/kubernetes ] || ln -s ../../.. .go/src/k8s.io/kubernetes
cd .go/src/k8s.io/kubernetes
[ -s pkg/generated/openapi/zz_generated.openapi.go ] || generate
for part in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do
    [ -x "$folder/bin/$part" ] || go build -trimpath -ldflags '-s -w' -o "$folder/bin/$part" "./cmd/$part"
done
