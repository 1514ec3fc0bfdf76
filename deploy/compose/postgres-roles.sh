#!/bin/sh
# First start of Postgres: a role with its own password for Colony and for Temporal, and their databases.
# psql reads the passwords itself, so that none is on a command line or in a log.
set -eu

psql --no-psqlrc --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER:-postgres}" --dbname=postgres <<'SQL'
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
\set colony_password `cat "${SECRETS:-/run/secrets}/postgres-colony"`
\set temporal_password `cat "${SECRETS:-/run/secrets}/postgres-temporal"`
CREATE ROLE colony LOGIN PASSWORD :'colony_password';
CREATE ROLE temporal LOGIN PASSWORD :'temporal_password';
CREATE DATABASE colony OWNER colony;
CREATE DATABASE temporal OWNER temporal;
CREATE DATABASE temporal_visibility OWNER temporal;
REVOKE CONNECT ON DATABASE colony, temporal, temporal_visibility FROM PUBLIC;
\connect temporal_visibility
CREATE EXTENSION IF NOT EXISTS btree_gin;
\connect colony
CREATE EXTENSION IF NOT EXISTS vector;
SQL
