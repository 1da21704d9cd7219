"""What may be asked of the daemon, by whom, and how it travels.

Commands put a request of `messages` into a `client` and get its response. `routes` says which
method and path asks what, for both sides; `identity` and `credentials` who is believed to have
asked, peer credentials on the UNIX socket and `munge` over TCP; `problems` how a refusal looks.
Begin with `messages`; `docs/protocol.md` describes it all.
"""
