"""What several test modules share: organisations, applications, servers, processes."""
