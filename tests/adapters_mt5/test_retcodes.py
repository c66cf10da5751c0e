"""Every code of the vendor has its meaning, in one table; what has none is an unknown outcome."""

import json
from pathlib import Path

import pytest

from dtms.adapters.mt5_answers import translate, translate_check
from dtms.adapters.refusals import ADVICE
from dtms.adapters.retcodes import ERRORS, REFUSALS, RETCODES, explain
from dtms.ports.broker import Answer
from dtms.terminal.protocol import CHECK_FIELDS, RESULT_FIELDS, Refusal

WHEEL = Path(__file__).parents[1] / "data" / "mt5_wheel.json"

CLASSES = {
    Answer.PRICE: {10004, 10020, 10021},
    Answer.STATE: {10006, 10007, 10023, 10036, 10038, 10039},
    Answer.AMBIG: {10008, 10011, 10012, 10031},
    Answer.OK: {10009, 10010},
    Answer.FIX: {10013, 10014, 10015, 10016, 10022, 10030, 10035},
    Answer.POLICY: {10017, 10019, 10026, 10027, 10032, 10033, 10034, *range(10040, 10047)},
    Answer.WAIT: {10018, 10024, 10028, 10029},
    Answer.NOOP: {10025},
}

NOT_SENT = {-2, -3, -5, -6, -7, -8, -10003, -10004}
UNKNOWN = {-1, -4, -10000, -10001, -10002, -10005}


def constants() -> dict[str, int]:
    found = json.loads(WHEEL.read_text(encoding="utf-8"))["constants"]
    assert isinstance(found, dict)
    return found


def result(retcode: int) -> dict[str, object]:
    values = {**dict.fromkeys(RESULT_FIELDS, 0), "comment": "", "retcode": retcode}
    return {"value": [values[name] for name in RESULT_FIELDS], "last_error": [1, "Success"]}


def test_the_table_has_every_return_code_of_the_package_under_its_name_and_one_more() -> None:
    named = {
        value: name.removeprefix("TRADE_RETCODE_") for name, value in constants().items() if "TRADE_RETCODE" in name
    }
    assert len(named) == 40
    assert {code: meaning.name for code, meaning in RETCODES.items()} == {**named, 10046: "HEDGE_PROHIBITED"}


def test_the_table_has_every_error_code_of_the_package_but_success() -> None:
    named = {value: name for name, value in constants().items() if name.startswith("RES_") and value != 1}
    assert {code: meaning.name for code, meaning in ERRORS.items()} == named


@pytest.mark.parametrize(("answer", "codes"), CLASSES.items())
def test_each_return_code_is_answered_by_its_class(answer: Answer, codes: set[int]) -> None:
    for code in codes:
        translated = translate(result(code))
        assert (translated.answer, translated.retcode, translated.sent) == (answer, code, True)


def test_the_classes_cover_the_table() -> None:
    assert set().union(*CLASSES.values()) == set(RETCODES)


def test_none_with_an_error_is_definite_only_where_nothing_can_have_left() -> None:
    assert set(ERRORS) == NOT_SENT | UNKNOWN
    for code in ERRORS:
        translated = translate({"value": None, "last_error": [code, "text"]})
        assert translated.sent is (code in UNKNOWN)
        assert (translated.answer is Answer.AMBIG) is (code in UNKNOWN)
        assert translated.retcode == code


@pytest.mark.parametrize("code", [1, 0, -9, -10006])
def test_none_with_an_unknown_code_is_unknown(code: int) -> None:
    assert translate({"value": None, "last_error": [code, ""]}).answer is Answer.AMBIG


@pytest.mark.parametrize("refusal", Refusal)
def test_every_refusal_of_the_gateway_is_definite(refusal: Refusal) -> None:
    assert set(REFUSALS) == set(Refusal)
    translated = translate({"refused": refusal.value, "message": "why"})
    assert not translated.sent
    assert translated.answer not in (Answer.AMBIG, Answer.OK, Answer.NOOP)


def test_every_code_is_explained_in_words_with_what_can_be_done() -> None:
    assert ADVICE.keys() == RETCODES.keys() | ERRORS.keys() | {0}
    for code in (*ADVICE, 4242):
        advice = explain(code)
        assert advice.meaning.endswith(".")
        assert advice.remedy.endswith(".")


@pytest.mark.parametrize("code", sorted({*RETCODES, *ERRORS}))
def test_what_may_have_been_carried_out_is_never_advised_to_be_repeated(code: int) -> None:
    """A person who reads that nothing happened would trade twice."""
    meaning = {**RETCODES, **ERRORS}[code]
    if meaning.answer is Answer.AMBIG and meaning.name != "PLACED":  # which says itself what to wait for
        assert "before anything is sent again" in explain(code).remedy


@pytest.mark.parametrize("code", [0, 4242, *RETCODES])
def test_a_check_keeps_the_code_and_leaves_nothing_to_be_looked_for(code: int) -> None:
    values = {**dict.fromkeys(CHECK_FIELDS, 0), "comment": "", "retcode": code}
    checked = translate_check({"value": [values[name] for name in CHECK_FIELDS], "last_error": [1, "Success"]})
    assert (checked.retcode, checked.sent) == (code, False)
    assert checked.answer is not Answer.AMBIG
    assert (checked.answer is Answer.OK) is (code in {0, *CLASSES[Answer.OK]})
