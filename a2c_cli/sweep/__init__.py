"""Many trials, each one single-stream run: planned, run here or on Ray, summed up."""
