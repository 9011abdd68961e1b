"""BatchService: in the contract from the first day; jobs get their durable store in a later version."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NoReturn

from google.longrunning import operations_pb2

from interactvlm.v1 import batch_service_pb2, batch_service_pb2_grpc
from services.runtime.errors import Unimplemented

__all__ = ["BatchServicer"]


class BatchServicer(batch_service_pb2_grpc.BatchServiceServicer):
    """Answers UNIMPLEMENTED, and says what to use meanwhile."""

    async def CreateJob(  # noqa: N802
        self, request: batch_service_pb2.CreateJobRequest, context: Any
    ) -> operations_pb2.Operation:
        """Begin a job."""
        _refuse("CreateJob")

    async def GetJob(self, request: batch_service_pb2.GetJobRequest, context: Any) -> batch_service_pb2.Job:  # noqa: N802
        """A job of this caller."""
        _refuse("GetJob")

    async def ListJobs(  # noqa: N802
        self, request: batch_service_pb2.ListJobsRequest, context: Any
    ) -> batch_service_pb2.ListJobsResponse:
        """This caller's jobs."""
        _refuse("ListJobs")

    def WatchJob(  # noqa: N802
        self, request: batch_service_pb2.WatchJobRequest, context: Any
    ) -> AsyncIterator[batch_service_pb2.Job]:
        """Progress as it happens."""
        _refuse("WatchJob")

    async def CancelJob(  # noqa: N802
        self, request: batch_service_pb2.CancelJobRequest, context: Any
    ) -> batch_service_pb2.Job:
        """Stop a job."""
        _refuse("CancelJob")

    async def UpdateJob(  # noqa: N802
        self, request: batch_service_pb2.UpdateJobRequest, context: Any
    ) -> batch_service_pb2.Job:
        """Change a job."""
        _refuse("UpdateJob")

    async def DeleteJob(  # noqa: N802
        self, request: batch_service_pb2.DeleteJobRequest, context: Any
    ) -> batch_service_pb2.DeleteJobResponse:
        """Erase a job."""
        _refuse("DeleteJob")

    async def ListItems(  # noqa: N802
        self, request: batch_service_pb2.ListItemsRequest, context: Any
    ) -> batch_service_pb2.ListItemsResponse:
        """Results of a job by item."""
        _refuse("ListItems")


def _refuse(method: str) -> NoReturn:
    raise Unimplemented(
        f"{method}: this version has no batch jobs yet; ContactService.PredictStream takes many photos at once"
    )
