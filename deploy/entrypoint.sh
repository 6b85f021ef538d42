#!/bin/sh
# Migrate, then serve. Arguments are run as a command instead: `docker compose run --rm api po-api users list`.
set -eu

if [ "$#" -gt 0 ]; then
    exec "$@"
fi

po-api migrate

# The serving process does not need the owner's password.
unset DATABASE_MIGRATION_URL

# Listen on all networks: only published ports are reachable. WEB_CONCURRENCY sets the number of workers, METRICS_PORT
# enables metrics.
exec env HOST=0.0.0.0 METRICS_HOST="${METRICS_HOST:-0.0.0.0}" po-api serve
