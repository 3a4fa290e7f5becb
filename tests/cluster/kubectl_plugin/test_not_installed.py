"""A cluster in which nnunet-operator is not installed."""

from __future__ import annotations

import pytest
from kubectl_nnunet import api_reader
from nnunet_operator.cluster.api.errors import ApiError
from support import apiclient
from support.apiclient import ApiClient
from support.controlplane import ControlPlane

pytestmark = pytest.mark.controlplane


def test_kinds_that_are_not_served(control_plane: ControlPlane) -> None:
    api: ApiClient = control_plane.admin
    with pytest.raises(apiclient.ApiError) as caught:
        api.request("GET", "/apis/nnunet.example/v1alpha1/namespaces/default/datasets")
    answer = ApiError(caught.value.code, str(caught.value.status.get("reason", "")), caught.value.message)
    fault = api_reader._refused(answer, "https://here", "list datasets", "lab")
    assert fault.reason == "NotInstalled"
    assert "nnunet-operator is not installed" in fault.message
