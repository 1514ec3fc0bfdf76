#!/bin/sh
# Brings the schema of both Temporal databases up to date. May run again at any time: updating is tried first, and only
# a database without any schema gets the first version table.
set -eu

SQL_PASSWORD=$(cat "${SECRETS:-/run/secrets}/postgres-temporal")
export SQL_PASSWORD

# bring_up DATABASE SCHEMA
bring_up() {
    if temporal-sql-tool --database "$1" update-schema --schema-name "$2"; then
        return
    fi
    temporal-sql-tool --database "$1" setup-schema --version 0.0
    temporal-sql-tool --database "$1" update-schema --schema-name "$2"
}

bring_up temporal postgresql/v12/temporal
bring_up temporal_visibility postgresql/v12/visibility
