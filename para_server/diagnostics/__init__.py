"""What `para.doctor` checks, and what dispatch tries before a first session."""
