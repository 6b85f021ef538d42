#!/bin/sh
# Distribute a migrated database over the workers of a Citus cluster, organisation by organisation. docs/citus.md describes the
# cluster, the roles, and what has to be stopped meanwhile.
#
#   convert.sh [--dry-run] URL     URL: the database on the coordinator, as the owner of the tables
#
# It executes what is still missing, statement by statement, and prints each of them; with --dry-run it only prints them.
# After an interruption run it again.
set -eu

dry_run=off
if [ "${1:-}" = --dry-run ]; then
    dry_run=on
    shift
fi
if [ "$#" -ne 1 ]; then
    echo "usage: $0 [--dry-run] postgresql://po_owner:…@coordinator/po" >&2
    exit 2
fi

exec psql "$1" -X -q -A -t -v ON_ERROR_STOP=1 -v dry_run="$dry_run" -f "$(dirname "$0")/convert.sql"
