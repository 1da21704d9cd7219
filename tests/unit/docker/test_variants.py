"""Variants of the mini-Slurm: which there are, and what nodes they make."""

import pytest
from mini import variants
from mini.settings import Cluster, UserError


def cluster(*names: str, nodes: int = 4) -> Cluster:
    return Cluster("test", "trixie", nodes, 4, "docker", variants=names)


def test_variants_are_named_in_any_way_and_each_once() -> None:
    assert variants.check_variants(["limits, memory", "memory"]) == ("memory", "limits")
    assert variants.check_variants([]) == ()


@pytest.mark.parametrize("word", ["memry", "", "memory,,limits"])
def test_an_unknown_variant_is_told_with_those_there_are(word: str) -> None:
    with pytest.raises(UserError, match="unknown: choose of memory, mixed-gpus"):
        variants.check_variants([word])


def test_nodes_are_dealt_out_among_the_kinds() -> None:
    words = [variants.gres_words(gpus) for gpus in variants.gpus_of_nodes(cluster("mixed-gpus"))]
    assert words == ["gpu:a100:4", "gpu:a100:4", "gpu:3090:4", "gpu:a100:2,gpu:3090:2"]
    assert variants.gpus_of_nodes(cluster()) == [(("", 4),)] * 4


def test_too_few_nodes_for_the_kinds_are_told() -> None:
    with pytest.raises(UserError, match="--nodes 4: --variant mixed-gpus,mig-names needs 5"):
        variants.check_combination(cluster("mixed-gpus", "mig-names"))


def test_half_of_the_nodes_save_power() -> None:
    assert variants.power_saving_nodes(cluster("powersave", nodes=3)) == ["n3"]
    assert variants.power_saving_nodes(cluster("memory")) == []
    with pytest.raises(UserError, match="powersave needs 2"):
        variants.check_combination(cluster("powersave", nodes=1))


def test_disks_are_small_only_where_that_is_asked_for() -> None:
    assert variants.has_small_disks(cluster("memory", "small-disks"))
    assert not variants.has_small_disks(cluster("memory"))
