#!/bin/sh
# Migrate, then serve. With arguments it runs those instead: `docker compose run --rm api po-api users list`.
set -eu

if [ "$#" -gt 0 ]; then
    exec "$@"
fi

po-api migrate

# What serves requests has no need of the owner's password.
unset DATABASE_MIGRATION_URL

# The application itself reads X-Forwarded-*, from the addresses in TRUSTED_PROXIES alone: anybody could send it.
# Idle connections outlive the minute that proxies keep theirs, or a request could meet one that is just being closed.
# The application writes the access log itself.
exec uvicorn --factory po_api.app:from_environment \
    --host 0.0.0.0 --port "${PORT:-8000}" \
    --no-proxy-headers --no-server-header --no-access-log --log-level warning \
    --timeout-keep-alive 75 --timeout-graceful-shutdown 30
