"""Lightning tasks, fold runners, baselines."""
