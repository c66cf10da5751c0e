"""The gateway's answer to a send, translated once into the house's words."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dtms.adapters import mt5_read, retcodes
from dtms.adapters.retcodes import Meaning
from dtms.ports.broker import Answer, SendResult
from dtms.terminal.protocol import CHECK_FIELDS, RESULT_FIELDS, Refusal


def result_of(meaning: Meaning, message: str, retcode: int = 0) -> SendResult:
    """Make a result that carries nothing but its meaning."""
    return SendResult(answer=meaning.answer, retcode=retcode, name=meaning.name, message=message, sent=meaning.sent)


def translate_check(answer: Mapping[str, Any]) -> SendResult:
    """Translate the gateway's answer to a check, which sends nothing: there is no unknown outcome, only no answer."""
    if "refused" in answer:
        result = result_of(retcodes.REFUSALS[Refusal(answer["refused"])], answer["message"])
    elif "value" in answer:
        found = mt5_read.fields(CHECK_FIELDS, answer["value"])
        result = result_of(retcodes.meaning_of_check(found["retcode"]), found["comment"], found["retcode"])
    else:
        result = _unchecked(answer["last_error"][0], answer["message"])
    answered = Answer.WAIT if result.answer is Answer.AMBIG else result.answer
    return replace(result, answer=answered, sent=False)


def _unchecked(code: int, message: str) -> SendResult:
    """Tell a fault of the request, or a terminal that will not trade, from one that was not reached."""
    meaning = retcodes.meaning_of_error(code)
    is_told = meaning.answer in (Answer.FIX, Answer.POLICY)
    return result_of(meaning, message, code) if is_told else result_of(retcodes.UNREACHABLE, message)


def translate(answer: Mapping[str, Any]) -> SendResult:
    """Translate the gateway's answer to a send."""
    if "refused" in answer:
        return result_of(retcodes.REFUSALS[Refusal(answer["refused"])], answer["message"])
    if "value" not in answer:  # the terminal answered in a form that nobody knows: the order may be out
        return result_of(retcodes.NO_ANSWER, answer["message"])
    if answer["value"] is None:
        code, text = answer["last_error"]
        return result_of(retcodes.meaning_of_error(code), text, code)
    found = mt5_read.fields(RESULT_FIELDS, answer["value"])
    meaning = retcodes.meaning_of_retcode(found["retcode"])
    return SendResult(
        answer=meaning.answer,
        retcode=found["retcode"],
        name=meaning.name,
        message=found["comment"],
        order=found["order"] or None,
        deal=found["deal"] or None,
        volume=mt5_read.volume_of(found["volume"]),
        price=found["price"] or None,
    )
