"""Which scopes permit a method, and where its request names the model. A method that is not here needs an admin."""

from __future__ import annotations

from collections.abc import Mapping

from service.access.scopes import Scope

READERS = (Scope.INFER, Scope.MODELS, Scope.FINETUNE)
"""May read about models."""
ANY = tuple(Scope)
ADMIN = (Scope.ADMIN,)
_INFER, _MODELS, _FINETUNE = (Scope.INFER,), (Scope.MODELS,), (Scope.FINETUNE,)

_SERVICES: Mapping[str, Mapping[str, tuple[Scope, ...] | None]] = {
    "zoo.v1.Prediction": {"Predict": _INFER, "StreamPredict": _INFER},
    "zoo.v1.Models": {
        "ListModels": READERS,
        "GetModel": READERS,
        "ListVersions": READERS,
        "GetReport": READERS,
        "PullModel": _MODELS,
        "LoadModel": _MODELS,
        "UnloadModel": _MODELS,
        "UpdateModel": _MODELS,
        "DeleteVersion": _MODELS,
        "SetAlias": _MODELS,
        "DeleteAlias": _MODELS,
        "RollbackModel": _MODELS,
        "SetTraffic": _MODELS,
    },
    "zoo.v1.FineTuning": {
        "UploadDataset": _FINETUNE,
        "GetUpload": _FINETUNE,
        "GetDataset": _FINETUNE,
        "ListDatasets": _FINETUNE,
        "DeleteDataset": _FINETUNE,
        "CreateJob": _FINETUNE,
        "GetJob": _FINETUNE,
        "ListJobs": _FINETUNE,
        "CancelJob": _FINETUNE,
        "PauseJob": _FINETUNE,
        "ResumeJob": _FINETUNE,
        "DeleteJob": _FINETUNE,
        "WatchJob": _FINETUNE,
        "ListCheckpoints": _FINETUNE,
    },
    "zoo.v1.Access": {"CreateToken": ADMIN, "ListTokens": ADMIN, "RevokeToken": ADMIN, "GetPrincipal": ANY},
    "inference.GRPCInferenceService": {
        "ServerLive": None,
        "ServerReady": None,
        "ServerMetadata": READERS,
        "ModelReady": READERS,
        "ModelMetadata": READERS,
        "ModelConfig": READERS,
        "ModelStatistics": READERS,
        "RepositoryIndex": READERS,
        "RepositoryModelLoad": _MODELS,
        "RepositoryModelUnload": _MODELS,
        "ModelInfer": _INFER,
        "ModelStreamInfer": _INFER,
        "SystemSharedMemoryStatus": _INFER,
        "SystemSharedMemoryRegister": _INFER,
        "SystemSharedMemoryUnregister": _INFER,
        "CudaSharedMemoryStatus": _INFER,
        "CudaSharedMemoryRegister": _INFER,
        "CudaSharedMemoryUnregister": _INFER,
        "TraceSetting": ADMIN,
        "LogSettings": ADMIN,
    },
    "grpc.health.v1.Health": {"Check": None, "List": None, "Watch": None},
    "grpc.reflection.v1alpha.ServerReflection": {"ServerReflectionInfo": ANY},
    "grpc.reflection.v1.ServerReflection": {"ServerReflectionInfo": ANY},
}
SCOPES: Mapping[str, tuple[Scope, ...] | None] = {
    f"/{service}/{method}": scopes for service, methods in _SERVICES.items() for method, scopes in methods.items()
}
"""Full name of a method → scopes, any of which permits it; None for a method that is open to everyone."""

REFLECTION = frozenset(path for path in SCOPES if path.startswith("/grpc.reflection."))

_MODEL_FIELDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "zoo.v1.Models": {
        "GetModel": ("name",),
        "PullModel": ("name",),
        "LoadModel": ("name",),
        "UnloadModel": ("name",),
        "UpdateModel": ("model.name",),
        "ListVersions": ("model",),
        "GetReport": ("model",),
        "DeleteVersion": ("model",),
        "SetAlias": ("model",),
        "DeleteAlias": ("model",),
        "RollbackModel": ("model",),
        "SetTraffic": ("model",),
    },
    "zoo.v1.FineTuning": {"CreateJob": ("spec.base", "spec.model")},
    "inference.GRPCInferenceService": {
        "ModelReady": ("name",),
        "ModelMetadata": ("name",),
        "ModelConfig": ("name",),
        "ModelStatistics": ("name",),
        "RepositoryModelLoad": ("model_name|repository_name",),  # KServe's clients name the model in the second
        "RepositoryModelUnload": ("model_name|repository_name",),
        "TraceSetting": ("model_name",),
    },
}
MODEL_FIELDS: Mapping[str, tuple[str, ...]] = {
    f"/{service}/{method}": fields for service, methods in _MODEL_FIELDS.items() for method, fields in methods.items()
}
"""Full name of a control method → paths of the fields of its request that name a model. Inference requests are checked where
they are read."""


def field_of(message: object, path: str) -> str:
    """The text of a field, by a path such as `model.name`; of `a|b` the first that is not empty."""
    for alternative in path.split("|"):
        value = message
        for part in alternative.split("."):
            value = getattr(value, part)
        if value:
            return str(value)
    return ""
