#!/bin/sh
# Writes the manifests beside this script anew: they are what the chart renders, for those who do
# not use Helm. HELM is another program than helm.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
output=$(mktemp -d)
trap 'rm -rf "$output"' EXIT
"${HELM:-helm}" template libvirt-exporter "$here/../helm/libvirt-exporter" --namespace monitoring \
    --set podMonitor.enabled=true --set networkPolicy.enabled=true \
    --output-dir "$output" >/dev/null
for manifest in "$output"/libvirt-exporter/templates/*.yaml; do
    # Nothing of Helm is left in them, and no such comment.
    sed -e '/^# Source: /d' -e 's/managed-by: Helm$/managed-by: kubectl/' "$manifest" \
        >"$here/${manifest##*/}"
done
