"""Panels, metrics, comparison, tables and the HTML report."""
