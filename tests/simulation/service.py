"""The daemon's request handlers, without sockets and threads: bytes in, bytes or a failure out.

It does what `daemon.serve.handler` does of each request, one piece after the other.
"""

from __future__ import annotations

from collections.abc import Callable

from ef_slurm.api import routes
from ef_slurm.api.identity import Caller, Transport
from ef_slurm.api.messages import (
    ActOnJob,
    ChangeJob,
    Failure,
    Judge,
    Ping,
    Register,
    Request,
    Response,
)
from ef_slurm.api.routes import HttpRequest
from ef_slurm.daemon.serve.context import ServerContext
from ef_slurm.daemon.serve.failures import failure_of
from ef_slurm.daemon.serve.registration import RecycledIdError
from ef_slurm.daemon.serve.requests import Dispatch
from ef_slurm.daemon.serve.visibility import Viewer
from ef_slurm.formats.codec import encode
from tests.simulation.faults import ViolationError


class Service:
    """One daemon's."""

    def __init__(self, context: ServerContext, is_ticking: Callable[[], bool]) -> None:
        self._is_ticking = is_ticking
        self._context = context
        self._dispatch = Dispatch(context)

    def close(self) -> None:
        self._dispatch.close()

    def ask(self, uid: int, sent: HttpRequest) -> bytes | Failure | None:
        """The answer to one request; None where it has to wait for the end of a tick.

        Raises:
            ViolationError: the daemon has no words for what went wrong.
        """
        caller = Caller(uid, uid, Transport.UNIX)
        try:
            request = routes.read(sent.method, sent.target, sent.body)
            return encode(self._respond(caller, request))
        except RecycledIdError:
            return None
        except routes.RequestError as error:
            return error.failure
        except Exception as error:
            failure = failure_of(error)
            if failure is None:
                raise ViolationError(f"{sent.method} {sent.target}: {error!r}") from error
            encode(failure)
            return failure

    def _respond(self, caller: Caller, request: Request) -> Response:
        dispatch, scheduler = self._dispatch, self._context.scheduler
        if isinstance(request, Ping):
            return dispatch.answer(caller, Viewer(caller.uid, sees_all=False), request)
        viewer = self._viewer(caller.uid)
        match request:
            case Judge(job):
                asked = dispatch.what_if(caller, viewer, job)
                answer, words = scheduler.judge(asked)
                return dispatch.judged(viewer, answer, words)
            case ChangeJob(job_id, change):
                row = dispatch.job_changes.allowed(caller, viewer, job_id)
                dispatch.check_waiting(viewer, job_id, change)
                changed = scheduler.change(row.id, change, caller.name)
                self._context.calls.wake()
                return dispatch.job_changes.changed(viewer, job_id, changed)
            case ActOnJob(job_id, action):
                row = dispatch.job_changes.allowed(caller, viewer, job_id)
                by_owner = row.request.uid == caller.uid
                words = scheduler.act(row.id, action, caller.name, by_owner=by_owner)
                self._context.calls.wake(refresh=True)
                return dispatch.job_changes.acted(viewer, job_id, words)
            case Register():
                try:
                    return dispatch.answer(caller, viewer, request)
                except RecycledIdError as error:
                    if self._is_ticking():
                        raise  # it would wait for the scheduler's thread
                    scheduler.lose(error.job_id)
                return dispatch.answer(caller, viewer, request)
            case _:
                return dispatch.answer(caller, viewer, request)

    def _viewer(self, uid: int) -> Viewer:
        viewer, _ = self._context.visibility.known(uid)
        return self._context.visibility.ask(uid) if viewer is None else viewer
