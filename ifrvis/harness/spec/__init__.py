"""What is asked for: tables, profiles, composition, signatures, weights by name."""
