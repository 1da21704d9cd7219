"""What all commands share: exit codes, options, tones, the way to the daemon (`connect`)."""
