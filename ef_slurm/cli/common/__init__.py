"""What all commands share: exit codes, options, formatting, the way to the daemon (`connect`)."""
