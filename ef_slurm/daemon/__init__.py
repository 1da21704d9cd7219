"""ef-schedd: observe → ingest → plan → reconcile → act, and recovery."""
