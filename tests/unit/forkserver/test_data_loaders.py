"""What scripts start themselves: workers of data loaders, by every start method."""

from pathlib import Path

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
        found = {}
        for method in sys.argv[1:]:
            loader = DataLoader(
                Squares(), batch_size=2, num_workers=2, multiprocessing_context=method
            )
            rows = [row for batch in loader for row in batch.tolist()]
            total = torch.tensor([sum(square for square, _ in rows)])
            torch.distributed.all_reduce(total)
            found[method] = {
                "squares": [square for square, _ in rows],
                "workers": len({pid for _, pid in rows}),
                "total": total.item(),
            }
        torch.distributed.destroy_process_group()
        print(json.dumps({"rank": int(os.environ["RANK"]), "found": found}))
"""


def test_workers(tmp_path: Path) -> None:
    methods = ("fork", "spawn", "forkserver")
    squares = [i * i for i in range(8)]
    expected = {"squares": squares, "workers": 2, "total": 2 * sum(squares)}
    for rank in Launching(tmp_path).says(SCRIPT, *methods).values():
        assert rank["found"] == dict.fromkeys(methods, expected)
