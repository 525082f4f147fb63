"""What reports leave out: two sides compared, why a number is another, a run made again, the seeds that claims need."""
