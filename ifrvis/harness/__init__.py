"""The experiment: tables, plan, jobs, attempts, records, status. Nothing here imports torch."""
