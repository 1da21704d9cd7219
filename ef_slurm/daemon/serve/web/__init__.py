"""The read-only page for browsers.

In come requests of browsers, out go HTML, its stylesheet and scripts. `access` says who asks and
refuses what another site's page asked for; `front` answers; `site` makes a page of the queue and of
what the scheduler last saw, in a reader's thread: `now`, `promises`, `job`, `waiting`, `health`.
"""
