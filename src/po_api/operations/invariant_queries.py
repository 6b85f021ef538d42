"""The queries of the invariants that are checked in SQL."""

# Each query selects the rows that violate an invariant; $1 is the organisation, NULL for all. Tables are joined by the
# organisation, too: in a distributed database, each server then compares its own rows.
VIOLATIONS = {
    "a line's ordered quantity is the sum of its allocations": """
        SELECT l.id, l.ordered_quantity, coalesce(sum(a.quantity - a.released_quantity), 0) AS held
        FROM porf_lines l
        LEFT JOIN allocations a ON a.organisation_id = l.organisation_id AND a.porf_line_id = l.id
        WHERE $1::bigint IS NULL OR l.organisation_id = $1
        GROUP BY l.organisation_id, l.id
        HAVING l.ordered_quantity <> coalesce(sum(a.quantity - a.released_quantity), 0)
    """,
    "ordered and closed quantities do not exceed the requested one and the tolerance": """
        SELECT l.id FROM porf_lines l
        WHERE ($1::bigint IS NULL OR l.organisation_id = $1)
          AND (l.ordered_quantity + l.closed_quantity > l.quantity * (1 + l.over_order_percent / 100)
               OR l.ordered_quantity < 0 OR l.closed_quantity < 0)
    """,
    "a request's status follows from its quantities": """
        SELECT p.id, p.status, sums.ordered, sums.left_over FROM porfs p
        JOIN LATERAL (
            SELECT coalesce(sum(l.ordered_quantity), 0) AS ordered, coalesce(sum(l.closed_quantity), 0) AS closed,
                   coalesce(sum(greatest(l.quantity - l.ordered_quantity - l.closed_quantity, 0)), 0) AS left_over
            FROM porf_lines l WHERE l.organisation_id = p.organisation_id AND l.porf_id = p.id
        ) sums ON true
        WHERE ($1::bigint IS NULL OR p.organisation_id = $1)
          AND NOT CASE p.status
            WHEN 'partially_ordered' THEN ordered > 0 AND left_over > 0 AND closed = 0
            WHEN 'ordered' THEN ordered > 0 AND left_over = 0 AND closed = 0
            WHEN 'closed' THEN left_over = 0
            ELSE ordered = 0 AND closed = 0
          END
    """,
    "parents of active cost centres, categories and teams are active": """
        WITH entries AS (
            SELECT 'cost centre' AS kind, organisation_id, id, parent_id, is_active FROM cost_centres
            UNION ALL SELECT 'category', organisation_id, id, parent_id, is_active FROM categories
            UNION ALL SELECT 'team', organisation_id, id, parent_id, is_active FROM teams
        )
        SELECT e.kind, e.id FROM entries e
        JOIN entries above
            ON above.kind = e.kind AND above.organisation_id = e.organisation_id AND above.id = e.parent_id
        WHERE ($1::bigint IS NULL OR e.organisation_id = $1) AND e.is_active AND NOT above.is_active
    """,
    "a submitted request with a cost centre has its code, and members of approval groups have not left": """
        SELECT 'request' AS kind, p.id FROM porfs p
        WHERE ($1::bigint IS NULL OR p.organisation_id = $1)
          AND p.cost_centre_id IS NOT NULL AND p.cost_centre IS NULL AND p.status <> 'draft'
        UNION ALL
        SELECT 'member', g.user_id FROM approval_group_members g
        JOIN members m ON m.organisation_id = g.organisation_id AND m.user_id = g.user_id
        WHERE ($1::bigint IS NULL OR g.organisation_id = $1) AND m.left_at IS NOT NULL
    """,
    "a line of an order has the category and the cost centre of the requested line": """
        SELECT l.id FROM purchase_order_lines l
        JOIN allocations a ON a.organisation_id = l.organisation_id AND a.purchase_order_line_id = l.id
        JOIN porf_lines r ON r.organisation_id = a.organisation_id AND r.id = a.porf_line_id
        WHERE ($1::bigint IS NULL OR l.organisation_id = $1)
          AND (l.category_id IS DISTINCT FROM r.category_id
               OR (r.cost_centre_id IS NOT NULL AND l.cost_centre_id IS DISTINCT FROM r.cost_centre_id))
    """,
    "a cancelled order has no allocations, any other those of all its lines": """
        SELECT o.id, o.status FROM purchase_orders o
        JOIN purchase_order_lines l ON l.organisation_id = o.organisation_id AND l.purchase_order_id = o.id
        LEFT JOIN allocations a ON a.organisation_id = o.organisation_id AND a.purchase_order_line_id = l.id
        WHERE ($1::bigint IS NULL OR o.organisation_id = $1)
          AND (a.quantity IS DISTINCT FROM l.quantity
               OR a.released_quantity <> CASE o.status WHEN 'cancelled' THEN a.quantity ELSE 0 END)
    """,
    # The version before revision 026 wrote neither.
    "an order has the cost centres and the earliest date of its lines": """
        SELECT o.id, o.cost_centres, o.delivery_date FROM purchase_orders o
        CROSS JOIN LATERAL (
            SELECT coalesce(array_agg(l.cost_centre) FILTER (WHERE l.cost_centre IS NOT NULL), '{}') AS cost_centres,
                   min(l.needed_by) AS needed_by
            FROM purchase_order_lines l
            WHERE l.organisation_id = o.organisation_id AND l.purchase_order_id = o.id
        ) lines
        WHERE ($1::bigint IS NULL OR o.organisation_id = $1)
          AND (NOT (o.cost_centres @> lines.cost_centres AND o.cost_centres <@ lines.cost_centres)
               OR o.delivery_date IS NOT NULL AND o.delivery_date IS DISTINCT FROM lines.needed_by)
    """,
    "an order's number has the year of its issue in the organisation's time zone": """
        SELECT o.id, o.number FROM purchase_orders o JOIN organisations g ON g.id = o.organisation_id
        WHERE ($1::bigint IS NULL OR o.organisation_id = $1)
          AND split_part(o.number, '-', 2) <> to_char(o.issued_at AT TIME ZONE g.timezone, 'YYYY')
    """,
    "an issued order has its document or the sheet to render it from, and no other order has one": """
        SELECT o.id, o.number FROM purchase_orders o
        LEFT JOIN purchase_order_files f ON f.organisation_id = o.organisation_id
            AND f.purchase_order_id = o.id AND f.revision = o.revision AND f.kind = 'issued'
        LEFT JOIN purchase_order_sheets s ON s.organisation_id = o.organisation_id
            AND s.purchase_order_id = o.id AND s.revision = o.revision
        WHERE ($1::bigint IS NULL OR o.organisation_id = $1)
          AND (o.number IS NULL) <> (f.id IS NULL AND s.id IS NULL)
    """,
    "the logo of an order's sheet is kept": """
        SELECT s.purchase_order_id, s.revision FROM purchase_order_sheets s
        LEFT JOIN document_logos l ON l.organisation_id = s.organisation_id AND l.digest = s.logo_digest
        WHERE ($1::bigint IS NULL OR s.organisation_id = $1) AND s.logo_digest IS NOT NULL AND l.id IS NULL
    """,
    "each document of an order is stored, due, or could not be rendered": """
        SELECT o.id, o.number, k.kind, r.status FROM purchase_orders o
        JOIN (VALUES ('issued'), ('cancelled')) AS k (kind) ON k.kind = 'issued' OR o.status = 'cancelled'
        LEFT JOIN purchase_order_files f
            ON f.organisation_id = o.organisation_id AND f.purchase_order_id = o.id AND f.revision = o.revision
            AND f.kind = k.kind
        LEFT JOIN document_renderings r
            ON r.organisation_id = o.organisation_id AND r.purchase_order_id = o.id AND r.revision = o.revision
            AND r.kind = k.kind
        WHERE ($1::bigint IS NULL OR o.organisation_id = $1) AND o.number IS NOT NULL
          AND f.id IS NULL AND coalesce(r.status, 'done') = 'done'
    """,
    "a stored document is unchanged, and of a kind that its order has": """
        SELECT o.id, o.number, f.kind FROM purchase_order_files f
        JOIN purchase_orders o ON o.organisation_id = f.organisation_id AND o.id = f.purchase_order_id
        WHERE ($1::bigint IS NULL OR f.organisation_id = $1)
          AND (encode(sha256(f.content), 'hex') <> f.digest
               OR substring(f.content FROM 1 FOR 4)
                   <> CASE f.kind WHEN 'electronic' THEN '<?xm'::bytea ELSE '%PDF'::bytea END
               OR f.revision > o.revision
               OR (f.kind = 'cancelled' AND o.status <> 'cancelled')
               OR (f.kind = 'superseded' AND f.revision = o.revision))
    """,
    "each accepted change of a request or an order has one event": """
        SELECT e.entity, e.id, e.version, count(a.id) AS events FROM (
            SELECT 'porf' AS entity, organisation_id, id, version FROM porfs
            UNION ALL SELECT 'purchase_order', organisation_id, id, version FROM purchase_orders
        ) e
        LEFT JOIN audit_events a
            ON a.organisation_id = e.organisation_id AND a.entity = e.entity AND a.entity_id = e.id
            -- Files and comments do not change the version of what they are about.
            AND split_part(a.action, '.', 2) NOT IN ('add_file', 'delete_file', 'edit_comment', 'delete_comment')
        WHERE $1::bigint IS NULL OR e.organisation_id = $1
        GROUP BY e.entity, e.organisation_id, e.id, e.version
        HAVING count(a.id) <> e.version
    """,
    "the statuses in the events have no gap": """
        WITH changes AS (
            SELECT entity, entity_id, id, before ->> 'status' AS was, after ->> 'status' AS became,
                   coalesce(lag(after ->> 'status') OVER (
                       PARTITION BY organisation_id, entity, entity_id ORDER BY id), 'draft') AS known
            FROM audit_events
            WHERE ($1::bigint IS NULL OR organisation_id = $1) AND after ? 'status'
              AND entity IN ('porf', 'purchase_order')
        )
        SELECT entity, entity_id, id, known, was FROM changes WHERE was IS DISTINCT FROM known
    """,
    "an order is made out to the supplier that was approved": """
        SELECT DISTINCT o.id, o.supplier_name, o.supplier_tax_id FROM purchase_orders o
        JOIN purchase_order_lines l ON l.organisation_id = o.organisation_id AND l.purchase_order_id = o.id
        JOIN allocations a ON a.organisation_id = o.organisation_id AND a.purchase_order_line_id = l.id
        JOIN porf_lines r ON r.organisation_id = o.organisation_id AND r.id = a.porf_line_id
        JOIN porfs p ON p.organisation_id = o.organisation_id AND p.id = r.porf_id
        JOIN approval_decisions d ON d.organisation_id = o.organisation_id
          AND d.porf_id = p.id AND d.round = p.approval_round AND d.decision = 'approved'
        LEFT JOIN approval_runs u ON u.organisation_id = d.organisation_id AND u.id = d.run_id
        WHERE ($1::bigint IS NULL OR o.organisation_id = $1) AND o.status <> 'cancelled'
          AND coalesce(u.status, 'approved') = 'approved'
          AND left(d.supplier_hash, 128) <> encode(sha256(convert_to(o.supplier_name, 'UTF8')), 'hex')
                                         || encode(sha256(convert_to(coalesce(o.supplier_tax_id, ''), 'UTF8')), 'hex')
    """,
    # What the version before revision 048 submits and decides belongs to no run.
    "a request is pending as long as its last run is open, and approved by an approved one": """
        SELECT p.id, p.status, r.run_no, r.status AS run_status FROM porfs p
        LEFT JOIN approval_runs r ON r.organisation_id = p.organisation_id AND r.porf_id = p.id
            AND r.round = p.approval_round AND r.opened_at = p.submitted_at
            AND r.run_no = (SELECT max(l.run_no) FROM approval_runs l
                WHERE l.organisation_id = p.organisation_id AND l.porf_id = p.id)
        WHERE ($1::bigint IS NULL OR p.organisation_id = $1)
          AND NOT EXISTS (SELECT FROM approval_decisions d WHERE d.organisation_id = p.organisation_id
              AND d.porf_id = p.id AND d.round = p.approval_round AND d.run_id IS NULL)
          AND CASE
              WHEN p.status = 'pending' THEN r.status <> 'open' OR NOT EXISTS (SELECT FROM approval_steps s
                  WHERE s.organisation_id = p.organisation_id AND s.run_id = r.id AND s.status = 'active')
              WHEN p.status IN ('approved', 'partially_ordered', 'ordered', 'closed') THEN r.status <> 'approved'
              WHEN p.status = 'rejected' THEN r.status <> 'rejected'
              ELSE false END
    """,
    "the steps of an approved run have enough approvals, or are skipped, and no closed run has open ones": """
        SELECT r.id, r.status, s.id AS step_id, s.status AS step_status, s.required_count FROM approval_runs r
        JOIN approval_steps s ON s.organisation_id = r.organisation_id AND s.run_id = r.id
        LEFT JOIN LATERAL (SELECT count(*) AS given FROM approval_decisions d
            WHERE d.organisation_id = s.organisation_id AND d.step_id = s.id AND d.decision = 'approved') d ON true
        WHERE ($1::bigint IS NULL OR r.organisation_id = $1)
          AND (r.status <> 'open' AND s.status IN ('waiting', 'active')
               OR r.status = 'approved' AND s.status NOT IN ('approved', 'skipped')
               OR s.status = 'approved' AND d.given < s.required_count
               OR s.status = 'rejected' AND r.status <> 'rejected')
    """,
    "a request with steps is approved by somebody: skipped steps approve nothing": """
        SELECT r.id, r.porf_id FROM approval_runs r
        WHERE ($1::bigint IS NULL OR r.organisation_id = $1) AND r.status = 'approved'
          AND EXISTS (SELECT FROM approval_steps s WHERE s.organisation_id = r.organisation_id AND s.run_id = r.id)
          AND NOT EXISTS (SELECT FROM approval_decisions d WHERE d.organisation_id = r.organisation_id
              AND d.run_id = r.id AND d.decision = 'approved')
    """,
    "no timer belongs to a closed step, and no person of one is still asked": """
        SELECT t.step_id, t.kind AS what FROM approval_timers t
        JOIN approval_steps s ON s.organisation_id = t.organisation_id AND s.id = t.step_id
        WHERE ($1::bigint IS NULL OR t.organisation_id = $1) AND s.status <> 'active'
        UNION ALL
        SELECT l.step_id, l.status FROM approval_slots l
        JOIN approval_steps s ON s.organisation_id = l.organisation_id AND s.id = l.step_id
        WHERE ($1::bigint IS NULL OR l.organisation_id = $1) AND l.status = 'open'
          AND s.status NOT IN ('waiting', 'active')
    """,
    "a decision is on a step of its run, and a carried one stands for a given one of the same person": """
        SELECT d.id, d.step_id, d.run_id FROM approval_decisions d
        JOIN approval_steps s ON s.organisation_id = d.organisation_id AND s.id = d.step_id
        JOIN approval_runs r ON r.organisation_id = d.organisation_id AND r.id = d.run_id
        LEFT JOIN approval_decisions o ON o.organisation_id = d.organisation_id AND o.id = d.carried_from_id
        WHERE ($1::bigint IS NULL OR d.organisation_id = $1)
          AND (s.run_id <> d.run_id OR r.porf_id <> d.porf_id OR r.round <> d.round
               OR d.carried_from_id IS NOT NULL AND (o.source <> 'given' OR o.decision <> 'approved'
                   OR (o.porf_id, o.approver_id, o.principal_id) <> (d.porf_id, d.approver_id, d.principal_id)))
    """,
    "a document's base currency is its organisation's, and its rate of that day one of its currency": """
        SELECT d.kind, d.id, d.currency, d.base_currency, d.base_rate_date FROM (
            SELECT 'porf' AS kind, organisation_id, id, currency, base_currency, base_rate_date, base_rate_id
            FROM porfs WHERE status <> 'draft'
            UNION ALL SELECT 'purchase_order', organisation_id, id, currency, base_currency, base_rate_date,
                base_rate_id FROM purchase_orders
        ) d
        JOIN organisations g ON g.id = d.organisation_id
        LEFT JOIN exchange_rates r ON r.organisation_id = d.organisation_id AND r.id = d.base_rate_id
        WHERE ($1::bigint IS NULL OR d.organisation_id = $1) AND d.base_currency IS NOT NULL
          AND (d.base_currency <> g.currency
               OR (d.currency = g.currency) <> (d.base_rate_id IS NULL)
               OR (r.currency, r.rate_date) <> (d.currency, d.base_rate_date))
    """,
    "a mail that was sent had the document of its order": """
        SELECT d.id, d.purchase_order_id, d.status FROM deliveries d
        LEFT JOIN purchase_order_files f
            ON f.organisation_id = d.organisation_id AND f.purchase_order_id = d.purchase_order_id
            AND f.revision = d.revision AND f.kind = 'issued' AND f.digest = d.file_digest
        WHERE ($1::bigint IS NULL OR d.organisation_id = $1) AND d.file_digest IS NOT NULL AND f.id IS NULL
    """,
    "only orders with a number are delivered, in a revision that they have": """
        SELECT d.id, d.purchase_order_id FROM deliveries d
        JOIN purchase_orders o ON o.organisation_id = d.organisation_id AND o.id = d.purchase_order_id
        WHERE ($1::bigint IS NULL OR d.organisation_id = $1) AND (o.number IS NULL OR d.revision > o.revision)
    """,
    "the last event has the current status": """
        SELECT e.entity, e.id, e.status, last.status AS last_status FROM (
            SELECT 'porf' AS entity, organisation_id, id, status FROM porfs
            UNION ALL SELECT 'purchase_order', organisation_id, id, status FROM purchase_orders
        ) e
        LEFT JOIN (
            SELECT organisation_id, entity, entity_id, (array_agg(after ->> 'status' ORDER BY id DESC))[1] AS status
            FROM audit_events WHERE ($1::bigint IS NULL OR organisation_id = $1) AND after ? 'status'
            GROUP BY organisation_id, entity, entity_id
        ) last ON last.organisation_id = e.organisation_id AND last.entity = e.entity AND last.entity_id = e.id
        WHERE ($1::bigint IS NULL OR e.organisation_id = $1) AND e.status <> coalesce(last.status, 'draft')
    """,
}

# Two queries for each rule, which have to select the same rows: one on global tables, one on those of organisations,
# which may be on different servers.
SAME = {
    "a user in an organisation is an active member of it, and no active member is elsewhere": (
        """
        SELECT organisation_id, id FROM users
        WHERE organisation_id IS NOT NULL AND ($1::bigint IS NULL OR organisation_id = $1)
        """,
        "SELECT organisation_id, user_id AS id FROM members"
        " WHERE is_active AND ($1::bigint IS NULL OR organisation_id = $1)",
    ),
    "an invitation has an address to be found by until it is answered or revoked": (
        "SELECT organisation_id, invitation_id AS id FROM invitation_addresses"
        " WHERE $1::bigint IS NULL OR organisation_id = $1",
        """
        SELECT organisation_id, id FROM invitations
        WHERE num_nonnulls(accepted_at, declined_at, revoked_at) = 0
          AND ($1::bigint IS NULL OR organisation_id = $1)
        """,
    ),
}
