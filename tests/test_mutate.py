"""The slips of tests/mutate.py fit the code as it is."""

import mutate


def test_every_slip_chosen_by_hand_has_its_place_and_its_test():
    slips = list(mutate.by_hand())
    assert {slip.file for slip in slips} <= set(mutate.TESTS)
    for file, _, name in {slip.noticed.partition("::") for slip in slips if slip.noticed}:
        text = (mutate.ROOT / "tests" / file).read_text(encoding="utf-8")
        assert f"def {name}(" in text if name else text, f"{file} has no {name}"


def test_every_file_of_the_walk_is_there_with_its_tests():
    assert {*mutate.WALKED} <= set(mutate.TESTS)
    for file, tests in mutate.TESTS.items():
        there = [f"tests/{name.partition('::')[0]}" for name in tests]
        assert all((mutate.ROOT / one).is_file() for one in [file, *there]), file
