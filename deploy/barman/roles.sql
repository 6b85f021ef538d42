-- Barman's two roles. Run once as a superuser: psql --file roles.sql, then \password for each role. Neither can read a table
-- through SQL, but a copy of the server contains all data: protect these passwords like the owner's.
--
-- In pg_hba.conf, above other lines for these roles (192.0.2.10 is Barman's machine):
--   hostssl  postgres     barman            192.0.2.10/32  scram-sha-256
--   hostssl  replication  streaming_barman  192.0.2.10/32  scram-sha-256
\set ON_ERROR_STOP on
BEGIN;

CREATE ROLE barman LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 10;
GRANT pg_read_all_settings, pg_read_all_stats TO barman;
GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean) TO barman;
GRANT EXECUTE ON FUNCTION pg_backup_stop(boolean) TO barman;
GRANT EXECUTE ON FUNCTION pg_switch_wal() TO barman;
GRANT EXECUTE ON FUNCTION pg_create_restore_point(text) TO barman;

CREATE ROLE streaming_barman LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE REPLICATION NOBYPASSRLS CONNECTION LIMIT 5;

COMMIT;
