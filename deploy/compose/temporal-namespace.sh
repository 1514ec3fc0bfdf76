#!/bin/sh
# Creates the namespace that Colony uses, unless it is there. May run again at any time.
set -eu

namespace=${TEMPORAL_NAMESPACE:-default}
attempts=30
until temporal operator namespace describe --namespace "$namespace" > /dev/null 2>&1; do
    attempts=$((attempts - 1))
    if [ "$attempts" -lt 0 ]; then
        echo "The namespace $namespace cannot be created." >&2
        exit 1
    fi
    # Another one may have created it since we looked: only the next look decides.
    temporal operator namespace create --namespace "$namespace" --retention 72h || true
    sleep 1
done
echo "The namespace $namespace is there."
