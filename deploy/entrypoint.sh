#!/bin/sh
# Migrate, then serve. With arguments it runs those instead: `docker compose run --rm api po-api users list`.
set -eu

if [ "$#" -gt 0 ]; then
    exec "$@"
fi

po-api migrate

# What serves requests has no need of the owner's password.
unset DATABASE_MIGRATION_URL

# Every network: only what the container publishes can be reached. WEB_CONCURRENCY says how many workers there are, and
# METRICS_PORT whether there are metrics.
exec env HOST=0.0.0.0 METRICS_HOST="${METRICS_HOST:-0.0.0.0}" po-api serve
