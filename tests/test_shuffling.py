"""Which options change places, and which refer to others and must not."""

from __future__ import annotations

import pytest

from harness.run.shuffling import movable, order

PLAIN = ["a dog", "a cat", "a bird"]


@pytest.mark.parametrize(
    "option",
    [
        "both A and B",
        "Both (a) and (b)",
        "A and C",
        "A & B",
        "A or B",
        "a) and b)",
        "A, B, and C",
        "A and B only",
        "only A",
        "Neither A nor B",
        "all except B",
        "all but A",
        "Options A and B are correct.",
        "Answers A, B and C are correct",
        "same as A",
        "D) both A and B",
        "the first two",
        "both the first and the second",
        "Sowohl A als auch B",
        "nur A",
        "A et B",
        "ni A ni B",
        "tanto A como B",
        "A y B son correctas",
        "A e B",
        "sia A che B",
        "A и B",
        "только A",
        "A和B",
        "A和B都对",
        "只有A",
        "AとB",
        "Aのみ",
        "A 및 B 모두",
        "केवल A",
        "A و B",
    ],
)
@pytest.mark.parametrize("place", [0, 3])
def test_options_that_name_letters_keep_all_where_they_are(option: str, place: int) -> None:
    """Their letters would be others' in another order."""
    choices = [*PLAIN[:place], option, *PLAIN[place:]]
    assert order(choices, seed=1, sample_id="7") == (0, 1, 2, 3)
    assert movable(tuple(choices)) == 0


@pytest.mark.parametrize(
    "option",
    [
        "all of the above",
        "All of the above.",
        "None of the above",
        "both of the above",
        "all the above",
        "none of the preceding",
        "Two of the above",
        "all of the above answers are correct",
        "All of these",
        "none of these",
        "none of the options",
        "all of the other choices",
        "All answers are correct",
        "none of them",
        "alle oben genannten",
        "Keine der genannten",
        "alle Antworten sind richtig",
        "Alle bovenstaande antwoorden",
        "toutes les réponses ci-dessus",
        "Aucune de ces réponses",
        "Todas las anteriores",
        "ninguna de las opciones anteriores",
        "Todas as alternativas anteriores",
        "nenhuma das alternativas",
        "tutte le precedenti",
        "Nessuna delle risposte precedenti",
        "wszystkie powyższe",
        "Все вышеперечисленные",
        "ничего из вышеперечисленного",
        "Yukarıdakilerin hepsi",
        "Tất cả các đáp án trên",
        "semua jawaban benar",
        "جميع ما سبق",
        "उपरोक्त सभी",
        "以上都是",
        "以上皆非",
        "上述所有",
        "上記のすべて",
        "위의 모두",
    ],
)
def test_options_that_mean_all_others_stay_last(option: str) -> None:
    """The others change places; where it does not stand last, all stay."""
    orders = {order([*PLAIN, option], seed=1, sample_id=str(at)) for at in range(40)}
    assert len(orders) == 6
    assert {each[3] for each in orders} == {3}
    assert movable((option, *PLAIN)) == 0
    assert movable((*PLAIN, option, "none of the above")) == 3


@pytest.mark.parametrize(
    "option",
    [
        "A",
        "C",
        "Solution A",
        "Pair B",
        "A and a",
        "vitamins A and C",
        "blood type A or B",
        "a and the",
        "only a dog",
        "E and F",
        "B, A, C",
        "neither; the concentrations are the same",
        "both",
        "neither",
        "none",
        "The ball is above the table.",
        "the picture below the title",
        "all animals",
        "none of the water evaporates",
        "Both magnets are the same.",
        "the first",
        "the second law",
        "It is all of the food.",
        "10个以上",
        "the options market",
    ],
)
def test_other_options_change_places(option: str) -> None:
    """Letters that name things in the picture, and words in their usual sense."""
    assert movable((*PLAIN, option)) == 4
    assert len({order([*PLAIN, option], seed=1, sample_id=str(at)) for at in range(200)}) == 24


def test_options_with_letters_of_their_own_stay() -> None:
    """What begins with "B)" cannot be asked as A; a beginning that is another's is no letter."""
    assert movable(("A) a dog", "B) a cat")) == 0
    assert movable(("(a) a dog", "(b) a cat")) == 0
    assert movable(("A. Lincoln", "G. Washington")) == 2


def test_the_order_is_that_of_the_seed_and_the_sample() -> None:
    """It is not that of another one, and the same each time."""
    orders = [order(PLAIN, seed=seed, sample_id=i) for seed in range(9) for i in ("1", "2")]
    assert len(set(orders)) > 1
    assert orders == [order(PLAIN, seed=seed, sample_id=i) for seed in range(9) for i in ("1", "2")]
    assert order(PLAIN, seed=0, sample_id="x") == (2, 0, 1)
