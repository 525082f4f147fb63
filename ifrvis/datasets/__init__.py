"""Reader, masks, splits and generated sets; what decides an identity here needs no torch."""
