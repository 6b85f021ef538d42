-- What convert.sh executes. The statements are made from the catalogue, which leaves out what was executed before.

\set VERBOSITY terse
SET client_min_messages = warning;
SET statement_timeout = 0;
-- Otherwise Citus makes distributed tables of local ones that refer to a reference table.
SET citus.enable_local_reference_table_foreign_keys = off;
-- Otherwise a table with rows that refers to organisations only by way of others (approval_group_members) is refused.
SET citus.multi_shard_modify_mode = 'sequential';
-- pg_tables without the shards, whatever is set for the role.
SET citus.override_table_visibility = on;

SELECT $$DO 'BEGIN RAISE EXCEPTION USING MESSAGE = ''this database has no Citus: see docs/citus.md''; END'$$
WHERE to_regclass('pg_dist_node') IS NULL \gexec

-- Where each table is. The order is that of the foreign keys. tests/operations/test_citus_conversion.py compares the list
-- with the models.
CREATE TEMP TABLE placement (number integer GENERATED ALWAYS AS IDENTITY, name text, kind text);
INSERT INTO placement (name, kind) VALUES
    ('organisations', 'reference'),  -- on every node, since every tenant table refers to it
    ('members', 'distributed'),      -- by organisation, with all that follow
    ('cost_centres', 'distributed'),
    ('categories', 'distributed'),
    ('teams', 'distributed'),
    ('approval_groups', 'distributed'),
    ('approval_group_members', 'distributed'),
    ('approval_policies', 'distributed'),
    ('approval_rules', 'distributed'),
    ('approval_delegations', 'distributed'),
    ('invitations', 'distributed'),
    ('number_series', 'distributed'),
    ('suppliers', 'distributed'),
    ('organisation_logos', 'distributed'),
    ('document_logos', 'distributed'),
    ('supplier_contacts', 'distributed'),
    ('addresses', 'distributed'),
    ('exchange_rates', 'distributed'),
    ('porfs', 'distributed'),
    ('porf_lines', 'distributed'),
    ('added_approvers', 'distributed'),
    ('approval_runs', 'distributed'),
    ('approval_steps', 'distributed'),
    ('approval_slots', 'distributed'),
    ('approval_timers', 'distributed'),
    ('approval_decisions', 'distributed'),
    ('purchase_orders', 'distributed'),
    ('porf_comments', 'distributed'),
    ('comment_mentions', 'distributed'),
    ('blobs', 'distributed'),
    ('attachments', 'distributed'),
    ('purchase_order_lines', 'distributed'),
    ('allocations', 'distributed'),
    ('external_references', 'distributed'),
    ('purchase_order_sheets', 'distributed'),
    ('purchase_order_files', 'distributed'),
    ('document_renderings', 'distributed'),
    ('document_filings', 'distributed'),
    ('filing_folders', 'distributed'),
    ('deliveries', 'distributed'),
    ('delivery_links', 'distributed'),
    ('mail_quotas', 'distributed'),
    ('notifications', 'distributed'),
    ('notification_preferences', 'distributed'),
    ('notification_mails', 'distributed'),
    ('audit_events', 'distributed'),
    ('event_outbox', 'distributed'),
    ('event_feeds', 'distributed'),
    ('event_log', 'distributed'),
    ('webhook_endpoints', 'distributed'),
    ('webhook_messages', 'distributed'),
    ('webhook_deliveries', 'distributed'),
    ('users', 'local'),              -- on the coordinator only: read before an organisation is entered
    ('sessions', 'local'),
    ('rotated_tokens', 'local'),
    ('sign_in_attempts', 'local'),
    ('sign_in_codes', 'local'),
    ('used_id_tokens', 'local'),
    ('api_keys', 'local'),
    ('invitation_addresses', 'local'),
    ('idempotency_records', 'local'),
    ('worker_tasks', 'local'),
    ('schema_info', 'local'),
    ('alembic_version', 'local');

-- Keys to tables that refer back: they go before their table is distributed, and come back when both are.
CREATE TEMP TABLE mutual (name text, column_name text, referred text);
INSERT INTO mutual (name, column_name, referred) VALUES
    ('members', 'team_id', 'teams'),
    ('members', 'default_cost_centre_id', 'cost_centres');

-- Executes a statement on the server that has the rows, which keeps its plan: Citus would plan it each time. In the
-- statement, shard_. stands before the names of tables. src/po_api/db/shard_plans.py calls it.
CREATE TEMP TABLE function (signature text, definition text);
INSERT INTO function VALUES ('run_prepared(bigint, text, text, text[])', $definition$
CREATE OR REPLACE FUNCTION run_prepared(of_organisation bigint, name text, statement text, arguments text[])
RETURNS SETOF record LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    most CONSTANT integer := 150;  -- prepared statements of a session; a large one takes a megabyte
    prepared text := format('%s_%s', name, get_shard_id_for_distribution_column('public.members', of_organisation));
    given text := (SELECT '(' || string_agg(quote_nullable(a), ', ' ORDER BY n) || ')'
        FROM unnest(arguments) WITH ORDINALITY AS given (a, n));
    citus_table regclass;
    earlier text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_prepared_statements p WHERE p.name = prepared) THEN
        FOR citus_table IN SELECT logicalrelid FROM pg_dist_partition LOOP
            statement := regexp_replace(statement, format('\mshard_\.%s\M', citus_table), format('public.%s_%s',
                citus_table, get_shard_id_for_distribution_column(citus_table, of_organisation)), 'g');
        END LOOP;
        IF statement ~ '\mshard_\.' THEN
            RAISE EXCEPTION 'a table of % is not on this server', statement;
        END IF;
        FOR earlier IN SELECT p.name FROM pg_prepared_statements p WHERE starts_with(p.name, 'po_')
            ORDER BY p.prepare_time DESC OFFSET most - 1
        LOOP
            EXECUTE format('DEALLOCATE %I', earlier);
        END LOOP;
        EXECUTE format('PREPARE %I AS %s', prepared, statement);
    END IF;
    RETURN QUERY EXECUTE format('EXECUTE %I %s', prepared, given);
END
$$
$definition$);

-- The statements that are missing, in their order.
CREATE TEMP TABLE missing AS
    WITH placed AS (
        SELECT *, to_regclass(name) AS table_id, to_regclass(name) IN (SELECT logicalrelid FROM pg_dist_partition) AS is_done
        FROM placement),
    mutual_keys AS (
        SELECT *, format('fk_%s_organisation_id_%s', name, column_name) AS key_name FROM mutual)
    -- Citus would check these keys as the owner, on other connections than those of the transaction, and wait for itself.
    SELECT 1 AS step, number, format('ALTER TABLE %s DROP CONSTRAINT %I', table_id, conname) AS statement
    FROM pg_constraint JOIN placed ON table_id = conrelid
    WHERE kind = 'local' AND contype = 'f' AND confrelid IN (SELECT table_id FROM placed WHERE kind = 'reference')
    UNION ALL SELECT 1, number, format('ALTER TABLE %s DROP CONSTRAINT %I', table_id, key_name)
    FROM mutual_keys JOIN placed USING (name) JOIN pg_constraint ON conrelid = table_id AND conname = key_name
    WHERE NOT is_done
    UNION ALL SELECT 2, number, CASE
        WHEN kind = 'reference' THEN format('SELECT create_reference_table(%L)', name)
        ELSE format('SELECT create_distributed_table(%L, ''organisation_id'', colocate_with => %L)', name,
            CASE name WHEN 'members' THEN 'none' ELSE 'members' END) END
    FROM placed WHERE kind <> 'local' AND NOT is_done
    -- The rows that were copied are also in the coordinator's table, hidden.
    UNION ALL SELECT 3, number, format('SELECT truncate_local_data_after_distributing_table(%L)', name)
    FROM placed WHERE kind <> 'local' AND pg_relation_size(table_id) > 0
    UNION ALL SELECT 4, number, format(
        'ALTER TABLE %s ADD CONSTRAINT %I FOREIGN KEY (organisation_id, %I) REFERENCES %I (organisation_id, id)',
        table_id, key_name, column_name, referred)
    FROM mutual_keys JOIN placed USING (name)
    WHERE NOT is_done OR NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = table_id AND conname = key_name)
    UNION ALL SELECT 5, number, format('ANALYZE %I', name) FROM placed WHERE kind <> 'local' AND NOT is_done
    UNION ALL SELECT 6, 1, definition FROM function WHERE to_regprocedure(signature) IS NULL
    UNION ALL SELECT 6, 2, format('SELECT create_distributed_function(%L, ''of_organisation'','
        ' colocate_with => ''members'', force_delegation => true)', signature)
    FROM function WHERE NOT EXISTS (
        SELECT FROM pg_dist_object WHERE objid = to_regprocedure(signature) AND distribution_argument_index IS NOT NULL);

-- What is in the way. The lock is that of po-api migrate, and is kept until the end.
SELECT format('DO %L', format('BEGIN RAISE EXCEPTION USING MESSAGE = %L; END', problem)) FROM (
    SELECT 'another process is migrating this database' AS problem WHERE NOT pg_try_advisory_lock(7302251100)
    UNION ALL SELECT format('table %s does not exist: run po-api migrate, of the version of these files', name)
    FROM placement WHERE to_regclass(name) IS NULL
    UNION ALL SELECT format('table %s has no place: use the files of the version that migrated', tablename)
    FROM pg_tables WHERE schemaname = current_schema() AND tablename NOT IN (SELECT name FROM placement)
    UNION ALL SELECT 'there are no workers: see docs/citus.md'
    WHERE NOT EXISTS (SELECT FROM pg_dist_node WHERE isactive AND shouldhaveshards)
    UNION ALL SELECT 'the coordinator is not in its own list of nodes: see docs/citus.md'
    WHERE NOT EXISTS (SELECT FROM pg_dist_node WHERE groupid = 0)
    UNION ALL SELECT format('stop po-api first: it has %s connections', count(*)) FROM pg_stat_activity
    WHERE application_name = 'po-api' AND datname = current_database()
        AND EXISTS (SELECT FROM missing) AND NOT :'dry_run'::boolean
    HAVING count(*) > 0
) AS problems LIMIT 1 \gexec

\if :dry_run
    SELECT statement || ';' FROM missing ORDER BY step, number;
\else
    \set ECHO queries
    \o /dev/null
    SELECT statement FROM missing ORDER BY step, number \gexec
\endif
