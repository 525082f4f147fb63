"""What is kept: every path and name, attempts, records, provenance."""
