"""The error of backups and restores."""


class BackupError(Exception):
    """An error with a one-line message for the operator."""
