"""What may be asked of the daemon, by whom, and how it travels.

Commands put a request of `messages` into a `client` and get its response; the daemon's server reads
the same frames with `wire`, which also says who is believed to have sent them: peer credentials on
the UNIX socket, `munge` over TCP. Begin with `messages`; `docs/protocol.md` describes it all.
"""
