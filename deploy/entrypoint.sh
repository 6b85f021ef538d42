#!/bin/sh
# Migrate, then serve. With arguments it runs those instead: `docker compose run --rm api po-api users list`.
set -eu

if [ "$#" -gt 0 ]; then
    exec "$@"
fi

po-api migrate

# What serves requests has no need of the owner's password.
unset DATABASE_MIGRATION_URL

# Every network: only what the container publishes can be reached. WEB_CONCURRENCY says how many workers there are.
exec env HOST=0.0.0.0 po-api serve
