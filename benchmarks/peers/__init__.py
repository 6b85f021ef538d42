"""The peers: the same schema, data, session check and JSON, each in the shortest honest form of its stack."""
