"""Who asks over TCP, by their credential, and whether they mean this daemon and its release."""

from __future__ import annotations

import time

from aiohttp import web

from ef_slurm.api import credentials, routes
from ef_slurm.api.credentials import CredentialError, ReplayGuard
from ef_slurm.api.messages import FailureCode
from ef_slurm.api.munge import Munge
from ef_slurm.api.routes import RequestError
from ef_slurm.daemon.serve.connections import Connections
from ef_slurm.daemon.serve.gate import Gate
from ef_slurm.daemon.serve.workers import FairWorkers


class Identification:
    """Reads credentials, and remembers which were used. Belongs to the server's event loop.

    Args:
        workers: call munge.
        daemon: "host:port" for which TCP credentials must be made.
        cluster: Slurm's name of the cluster; "" when it could not be asked.
    """

    def __init__(
        self,
        munge: Munge,
        workers: FairWorkers,
        connections: Connections,
        daemon: str,
        cluster: str,
    ) -> None:
        self._munge = munge
        self._credentials = workers
        self._connections = connections
        self._daemon = daemon
        self._cluster = cluster
        self._guard = ReplayGuard()

    async def identify(
        self, gate: Gate, request: web.BaseRequest, target: str, body: bytes
    ) -> tuple[str, int]:
        """See whose TCP connection it is; the request's nonce, and when it was sent.

        Raises:
            CredentialError: it is not known who asks, or not of this request or daemon.
            RequestError: it is meant for another cluster.
        """
        given = request.headers.getall("Authorization", [])
        if len(given) > 1:
            raise CredentialError(FailureCode.UNAUTHENTICATED, "more than one credential")
        value = given[0] if given else None
        identity, signed = await self._credentials.run(
            gate.address, lambda: credentials.read_authorization(value, self._munge)
        )
        digest = credentials.request_digest(request.method, target, body)
        credentials.check_request(signed, digest, self._daemon)
        self._check_cluster(signed.cluster)
        failure = self._connections.identified(gate, identity.uid, identity.gid)
        if failure is not None:
            raise CredentialError(failure.code, failure.message)
        return signed.nonce, signed.sent

    def once(self, uid: int, nonce: str, sent: int) -> None:
        """Refuse what was asked before.

        Raises:
            CredentialError: it was, or nobody can know any more.
        """
        self._guard.check(uid, nonce, sent, time.time())

    def check_version(self, request: web.BaseRequest) -> None:
        """Refuse commands of another release, and what is meant for another cluster.

        Raises:
            RequestError: it is one of these.
        """
        version = request.headers.get(routes.VERSION_HEADER)
        if version is not None and version != str(routes.VERSION):
            raise RequestError(
                FailureCode.OTHER_VERSION,
                f"the command is of another release than ef-schedd (protocol "
                f"{routes.shown(version)}, ef-schedd's is {routes.VERSION}): install the same one "
                "on both hosts; nothing was done, and jobs go on meanwhile",
            )
        self._check_cluster(request.headers.get(routes.CLUSTER_HEADER, ""))

    def _check_cluster(self, cluster: str) -> None:
        ours = self._cluster
        if cluster and ours and cluster != ours:
            raise RequestError(
                FailureCode.BAD_REQUEST,
                f"this ef-schedd serves cluster {ours}, not {routes.shown(cluster)}",
            )
