"""The metrics for Prometheus: those that processes count themselves (observability/metrics.py), and those that are read
from the database, its migrations, the backups and the disk at each scrape."""
