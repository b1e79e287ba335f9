"""Whether a caller may use a model."""

from bursar.domain.errors import Forbidden
from bursar.domain.permissions import may_use_model
from bursar.domain.principals import Principal
from bursar.gateway.models import Group


def check_model(principal: Principal, name: str, group: Group) -> None:
    """Raises Forbidden unless key and team may both use `name`."""
    if not principal.models and not principal.team_models:
        return
    if not principal.team_models and name in principal.models:
        return
    names = {name, group.name, *(deployment.qualified_model for deployment in group.deployments)}
    for allowed, scope in ((principal.models, "key"), (principal.team_models, "team")):
        if not may_use_model(allowed, names, group.access_groups):
            raise Forbidden(
                f"The requested model '{name}' is not available for this API key, or the model name is invalid. "
                "Check the models available to you and try again.",
                kind=f"{scope}_model_access_denied",
                param="model",
            )
