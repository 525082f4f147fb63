"""The page of all reports, and what its viewer plays."""
