"""Helpers of several test modules: organisations, applications, servers, processes."""
