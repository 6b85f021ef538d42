"""The peers: the same schema, data, session check and JSON, each in the shortest fair form of its stack."""
