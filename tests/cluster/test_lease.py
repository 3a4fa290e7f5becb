"""At most one of several replicas works."""

from __future__ import annotations

import pytest
from support.apiclient import wait_until
from support.controlplane import ControlPlane
from support.pretend import PretendKubelet, succeed

from .conftest import API_VERSION, StartOperator, condition, dataset, leading

pytestmark = pytest.mark.controlplane


def test_one_of_two_leads_and_the_other_takes_over(
    control_plane: ControlPlane, namespace: str, start_operator: StartOperator
) -> None:
    flags = ("--leader-election", "--lease-namespace", namespace)
    first = start_operator(*flags, POD_NAME="first")
    wait_until(lambda: leading([first]), what="the first to lead")
    second = start_operator(*flags, POD_NAME="second")
    assert leading([first, second]) == [first]
    first.stop()  # gives the lease away
    wait_until(lambda: leading([second]), timeout=10, what="the second to lead")
    third = start_operator(*flags, POD_NAME="third")
    second.kill()  # cannot give it away
    api = control_plane.admin
    with PretendKubelet(api, namespace, succeed):
        api.apply(dataset(namespace))
        wait_until(lambda: leading([third]), timeout=30, what="the third to lead")
        wait_until(
            lambda: condition(api.get(API_VERSION, "Dataset", namespace, "brain")).get("status") == "True",
            what="the third to do the work",
        )
    lease = api.get("coordination.k8s.io/v1", "Lease", namespace, "nnunet-operator")
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == "third"
    assert lease["spec"]["leaseTransitions"] == 2
