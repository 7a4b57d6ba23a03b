"""What a benchmark leaves: a run's folder, its table and signature, runs compared, seeds averaged, exports."""
