"""ef-sim: replays of traces; `command` has the subcommands, `options` what they share."""
