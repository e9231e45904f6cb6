"""The chapters of a report: each from what a run holds to figures, tables and sentences."""
