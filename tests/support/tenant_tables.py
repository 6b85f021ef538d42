"""The tables of tenants, and the others."""

from po_api.tables import metadata

# The setting that row-level security compares with.
TENANT_SETTING = "app.organisation_id"

# These name an organisation in their keys, but are read before a tenant is entered: a stored response by the user who
# repeats a request, and the place of an invitation by the digest of an address.
_BEFORE_THE_TENANT = {"idempotency_records", "invitation_addresses"}

TENANT_TABLES = [
    table
    for table in metadata.sorted_tables
    if "organisation_id" in table.primary_key.columns and table.name not in _BEFORE_THE_TENANT
]
GLOBAL_TABLES = [table for table in metadata.sorted_tables if table not in TENANT_TABLES]
