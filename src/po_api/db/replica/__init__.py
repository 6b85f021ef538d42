"""Reading on a streaming replica; nothing here runs without DATABASE_REPLICA_URL."""
