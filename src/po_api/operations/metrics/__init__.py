"""What Prometheus is shown: what the processes counted of themselves (core/metrics.py), and what the database, its
migrations and the disk say when somebody asks."""
