from __future__ import annotations

import torch

from triptych.nets.realnvp import RealNVP


def shaken(features: int = 5) -> RealNVP:
    torch.manual_seed(0)
    flow = RealNVP(features, couplings=4, hidden=16).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return flow


def test_realnvp_is_the_identity_at_initialization() -> None:
    vectors = torch.randn(3, 5)
    assert torch.equal(RealNVP(5, couplings=6)(vectors), vectors)
    assert torch.equal(RealNVP(5, couplings=0)(vectors), vectors)


def test_inverse_undoes_forward() -> None:
    flow, noise = shaken(), torch.randn(7, 5, dtype=torch.float64)
    vectors = flow(noise)
    assert not torch.allclose(vectors, noise, atol=0.1)
    assert torch.allclose(flow.inverse(vectors)[0], noise, atol=1e-9)


def test_the_log_determinant_is_the_jacobians() -> None:
    flow, vectors = shaken(), torch.randn(3, 5, dtype=torch.float64)
    _, log_det = flow.inverse(vectors)
    for row in range(3):
        jacobian = torch.autograd.functional.jacobian(lambda v: flow.inverse(v[None])[0][0], vectors[row])
        assert torch.allclose(torch.linalg.slogdet(jacobian).logabsdet, log_det[row], atol=1e-9)
