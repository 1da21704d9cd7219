"""What scripts start themselves: workers of data loaders, by every start method."""

from pathlib import Path

import pytest

from tests.unit.forkserver.launching import Launching

SCRIPT = """
    import json, os, sys
    import torch
    import torch.multiprocessing
    from torch.utils.data import DataLoader, Dataset, get_worker_info

    class Squares(Dataset):
        def __len__(self):
            return 8
        def __getitem__(self, i):
            assert get_worker_info() is not None
            return torch.tensor([i * i, os.getpid()])

    if __name__ == "__main__":
        torch.distributed.init_process_group("gloo")
        rows = [
            row
            for batch in DataLoader(
                Squares(), batch_size=2, num_workers=2, multiprocessing_context=sys.argv[1]
            )
            for row in batch.tolist()
        ]
        total = torch.tensor([sum(square for square, _ in rows)])
        torch.distributed.all_reduce(total)
        torch.distributed.destroy_process_group()
        print(json.dumps({
            "rank": int(os.environ["RANK"]),
            "squares": [square for square, _ in rows],
            "workers": len({pid for _, pid in rows}),
            "total": total.item(),
        }))
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers(tmp_path: Path, method: str) -> None:
    found = Launching(tmp_path).says(SCRIPT, method)
    for rank in found.values():
        assert rank["squares"] == [i * i for i in range(8)]
        assert rank["workers"] == 2
        assert rank["total"] == 2 * sum(i * i for i in range(8))
