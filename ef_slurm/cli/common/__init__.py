"""What all commands share: errors and exit codes, options, states, tones, and the way to the queue.

Begin with `entry`, which surrounds every command; `connect` gives it something that answers: the
daemon's socket, or the owner's own queue file (`local_client`).
"""
