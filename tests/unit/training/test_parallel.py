"""`training.parallel` on its own: what a script sees of it where there is one rank."""

import copy

import torch

from ef_slurm import training
from ef_slurm.training.state import unwrap


def test_is_the_model_as_it_is_without_other_ranks() -> None:
    net = torch.nn.Linear(3, 2)
    model = training.parallel(net)
    x = torch.ones(1, 3)
    assert torch.equal(model(x), net(x))
    assert [name for name, _ in model.named_parameters()] == ["module.weight", "module.bias"]
    assert list(model.state_dict()) == ["module.weight", "module.bias"]
    assert model.module is net
    assert unwrap(model) is net
    assert not model.eval().module.training
    with model.no_sync():
        model(x).sum().backward()
    assert net.weight.grad is not None


def test_copy_is_a_model_of_its_own() -> None:
    net = torch.nn.Linear(3, 2)
    other = copy.deepcopy(training.parallel(net))
    with torch.no_grad():
        net.weight.zero_()
    assert other(torch.ones(1, 3)).shape == (1, 2)
    copied = other.get_submodule("module")
    assert isinstance(copied, torch.nn.Linear)
    assert bool(copied.weight.any())
