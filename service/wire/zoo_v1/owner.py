"""Who owns what a call creates, and which objects are its caller's: the principal of its token.

A server without tokens takes the owner's name in the metadata, which is a claim without proof; fine_tuning.proto says which proxy
should set it. There every caller may see and change everything.
"""

from __future__ import annotations

from service.access.principal import NAME, NAME_RULE, current_principal
from service.access.scopes import Scope
from service.datasets.dataset_limits import MIB, OwnerQuota
from service.datasets.library import Library, ListedDataset
from service.errors import InvalidInput, NotFound, PermissionDenied
from service.jobs.job_limits import OwnerTerms
from service.jobs.job_service import JobService
from service.jobs.types import Job
from service.wire.calls import Context

KEY = "zoo-owner"


def owner_of(context: Context) -> str:
    """The principal's name. Without tokens the call's `zoo-owner`, empty where there is none.

    Raises InvalidInput for a value of `zoo-owner` that is no name, and for two values.
    """
    principal = current_principal.get()
    if not principal.anonymous:
        return principal.name
    values = [value for key, value in context.invocation_metadata() or () if key == KEY]
    if len(values) > 1:  # a proxy that adds its value to the caller's must replace it
        raise InvalidInput(KEY, "came more than once in the call's metadata")
    if not values or not values[0]:
        return ""
    if not isinstance(values[0], str) or not NAME.fullmatch(values[0]):
        raise InvalidInput(KEY, f"expected {NAME_RULE}, got {values[0][:64]!r}")
    return values[0]


def is_private() -> bool:
    """Whether a token proves the owner, so that owners share no uploads and datasets."""
    return not current_principal.get().anonymous


def quota_of_caller() -> OwnerQuota | None:
    """What the datasets of the caller may take; None where no token says so."""
    limits = current_principal.get().limits
    return None if limits is None else OwnerQuota(limits.limits.datasets, limits.limits.dataset_mib * MIB)


def listed_owner(wanted: str) -> str:
    """The owner whose jobs are listed; empty for all. Raises PermissionDenied for another than the caller."""
    principal = current_principal.get()
    if principal.owns(wanted):
        return wanted
    if wanted:
        raise PermissionDenied(
            f"the token lists only jobs of {principal.name!r}; the scope 'admin' lists those of others"
        )
    return principal.name


async def own_job(jobs: JobService, job_id: str) -> str:
    """The id of a job that the caller may see and change.

    Raises NotFound for another's, and for one whose models the token does not permit, as for one that does not exist.
    """
    principal = current_principal.get()
    if not principal.owns(""):  # neither an admin, nor a server without tokens
        job = await jobs.get(job_id)
        if not principal.owns(job.owner) or not may_see(job):
            raise NotFound("job", job_id[:64])
    return job_id


def may_see(job: Job) -> bool:
    """Whether the caller's token permits the models of a job."""
    principal = current_principal.get()
    return principal.may_use(job.spec.base) and principal.may_use(job.spec.model)


async def own_dataset(datasets: Library, dataset_id: str) -> ListedDataset:
    """A dataset, intact or damaged, that the caller may see and change. Raises NotFound as `own_job`."""
    found = await datasets.look(dataset_id)
    if not current_principal.get().owns(found.owner):
        raise NotFound("dataset", dataset_id[:64])
    return found


async def check_dataset_is_own(datasets: Library, dataset_id: str) -> None:
    """Raises NotFound for a dataset of another principal."""
    if dataset_id and not current_principal.get().owns(""):
        await own_dataset(datasets, dataset_id)


def terms_of_caller() -> OwnerTerms:
    """What holds for the jobs of the caller. The scope `models`, which may change any model, lets its jobs do so too."""
    principal = current_principal.get()
    most = 0 if principal.limits is None else principal.limits.limits.jobs
    return OwnerTerms(most, sole=not principal.owns("") and Scope.MODELS not in principal.scopes)
