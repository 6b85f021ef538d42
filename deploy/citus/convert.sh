#!/bin/sh
# Distribute a migrated database over the workers of a Citus cluster, by organisation. docs/citus.md describes the cluster, its
# roles, and what to stop meanwhile.
#
#   convert.sh [--dry-run] URL     URL: the database on the coordinator, as the owner of its tables
#
# Executes what is missing, statement by statement, and prints each; with --dry-run it only prints them. After an interruption
# run it again.
set -eu

dry_run=off
if [ "${1:-}" = --dry-run ]; then
    dry_run=on
    shift
fi
if [ "$#" -ne 1 ]; then
    echo "usage: convert.sh [--dry-run] postgresql://po_owner@coordinator/po" >&2
    exit 2
fi

exec psql --no-psqlrc --quiet --no-align --tuples-only --set ON_ERROR_STOP=1 --set dry_run="$dry_run" \
    --file "$(dirname "$0")/convert.sql" "$1"
