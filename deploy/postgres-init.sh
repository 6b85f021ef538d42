#!/bin/sh
# Run once by the postgres image on an empty volume: creates the database, its owner, and the role of the API. That role
# owns no table, so that row-level security applies to it. psql reads the passwords itself: arguments are visible to others.
set -eu

psql -X -q -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\getenv owner_password PO_OWNER_PASSWORD
\getenv app_password PO_APP_PASSWORD
CREATE ROLE po_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'owner_password';
CREATE ROLE po_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'app_password';
CREATE DATABASE po_api OWNER po_owner;
SQL
