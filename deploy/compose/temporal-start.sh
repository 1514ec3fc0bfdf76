#!/bin/sh
# Starts Temporal with the password from its file. The image's own script finds the address to announce.
set -eu

POSTGRES_PWD=$(cat "${SECRETS:-/run/secrets}/postgres-temporal")
export POSTGRES_PWD
exec /etc/temporal/entrypoint.sh
