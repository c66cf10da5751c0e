"""The gateway's answer to a send, translated once into the house's words."""

from collections.abc import Mapping
from typing import Any

from dtms.adapters import mt5_read, retcodes
from dtms.adapters.retcodes import Meaning
from dtms.ports.broker import SendResult
from dtms.terminal.protocol import RESULT_FIELDS, Refusal


def result_of(meaning: Meaning, message: str, retcode: int = 0) -> SendResult:
    """Make a result that carries nothing but its meaning."""
    return SendResult(answer=meaning.answer, retcode=retcode, name=meaning.name, message=message, sent=meaning.sent)


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
