"""What goes wrong with backups."""


class BackupError(Exception):
    """One clear line for the person who makes or needs a backup."""
