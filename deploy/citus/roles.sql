-- The settings of po-api's roles on a Citus cluster. Run once as a superuser on the coordinator, in po-api's database:
-- psql --file roles.sql po. Citus passes them on to the workers, also to those that are added later.
\set ON_ERROR_STOP on
BEGIN;

-- The organisation of a transaction has to reach the worker that has its rows: row-level security refuses all others.
ALTER ROLE po_app SET citus.propagate_set_commands = 'local';
-- Otherwise each look of the driver at the types of a new connection takes most of a second. Not for po_owner: pg_dump would
-- dump shards.
ALTER ROLE po_app SET citus.override_table_visibility = off;
-- The coordinator's sessions have these settings of the application (DB_LOCK_TIMEOUT_MS); Citus does not pass them on to those
-- of the workers, where rows are locked.
ALTER ROLE po_app SET lock_timeout = '10s';
ALTER ROLE po_app SET jit = off;

COMMIT;
