"""What several tests share; one file per concern."""
