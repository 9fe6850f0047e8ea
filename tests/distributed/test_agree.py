import pytest

from pyg_relational.distributed.agree import agree
from tests.distributed.pool import refused


def fails(kind: type[Exception]):
    def facts():
        raise kind

    return facts


def asked(rank: int, group) -> dict[str, object]:
    def fine():
        return {"k": 5}, [10 * rank, rank]

    return {
        "numbers": agree(fine, group),
        "empty": refused(lambda: agree(fails(KeyError) if rank == 1 else fine, group)),
        "both": refused(lambda: agree(fails(TypeError) if rank else fine, group)),
        "missing": refused(
            lambda: agree(lambda: ({"k": 5, "j": 6} if rank else {"k": 5}, []), group)
        ),
        "after": agree(fine, group),
    }


def test_numbers_are_told_and_any_error_is_raised_on_all(ranks):
    for got in ranks(3, asked):
        assert got["numbers"] == got["after"] == [[0, 0], [10, 1], [20, 2]]
        assert got["empty"] == "ValueError: KeyError() (on rank 1)"
        assert got["both"] == "TypeError: TypeError() (on rank 1)"
        assert got["missing"] == (
            "ValueError: j must be alike on all ranks of the group, got None on rank 0, 6 on rank 1"
        )


def test_one_process_asks_itself():
    assert agree(lambda: ({}, [3])) == [[3]]
    with pytest.raises(KeyError):
        agree(fails(KeyError))
