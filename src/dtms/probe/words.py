"""Experiments with comments and magic numbers: what may be sent, and what comes back."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from dtms.domain.broker_ways import COMMENT_CHARS_MAX
from dtms.domain.facts import Json
from dtms.probe.hand import Hand, Made
from dtms.probe.line import Inconclusive, Row
from dtms.probe.requests import Code, Reply, comment_of

Found = Mapping[str, tuple[Json, str]]
"""Name → value and evidence."""

CHARACTERS = "a_- .#:/"
"""Tried one by one beside capital letters and digits, which dtms uses."""
LENGTHS = (COMMENT_CHARS_MAX, 27, 24, 20, 16, 13)
PLAIN_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ23456"
REFUSALS = frozenset({Code.BAD_ARGUMENT, Code.INVALID})


class Form(StrEnum):
    """What became of a comment."""

    KEPT = "kept"
    CUT = "cut"
    STRIPPED = "stripped"
    REPLACED = "replaced"
    REFUSED = "refused"


def form_of(sent: str, back: str) -> Form:
    """Name what became of a comment."""
    if back == sent:
        return Form.KEPT
    if not back:
        return Form.STRIPPED
    return Form.CUT if sent.startswith(back) else Form.REPLACED


def chars_kept(sent: str, back: str) -> int:
    """Count the characters that came back unchanged; none of a comment that was replaced."""
    return len(back) if sent.startswith(back) else 0


async def comments(hand: Hand) -> Found:
    """Find out which comments an opening and a close may carry, and what the books make of them."""
    magic = hand.magic()
    mark = comment_of(magic)
    opened = await _open_with(hand, mark, magic)
    made = await hand.opened(magic=magic) if isinstance(opened, Reply) else opened
    on_open = Form.REFUSED if isinstance(opened, Reply) else form_of(mark, made.position["comment"])
    found: dict[str, tuple[Json, str]] = {
        "comment.open.accepted": (on_open is not Form.REFUSED, _told(mark, opened)),
        "comment.open.form": (str(on_open), _told(mark, opened)),
    }
    found |= await _on_close(hand, made)
    if on_open is not Form.REFUSED:
        found |= await _alphabet(hand)
        found |= await _length(hand)
    else:
        found["comment.chars_kept"] = (0, "comments are refused")
    return found


async def _open_with(hand: Hand, comment: str, magic: int | None = None) -> Made | Reply:
    """Open a position with a comment; a refusal is believed to be the comment's where those words are known.

    Raises:
        Inconclusive: when it was refused for another reason.
    """
    made = await hand.open(comment=comment, magic=magic)
    if isinstance(made, Reply) and made.code not in REFUSALS:
        raise Inconclusive(f"an opening with the comment {comment!r}: {made.told}")
    return made


async def _on_close(hand: Hand, made: Made) -> Found:
    """Close with a comment, and without one when that is refused."""
    magic = hand.magic()
    mark = comment_of(magic)
    closed = await hand.closed(made.position, magic=magic, comment=mark)
    if isinstance(closed, Reply):
        if closed.code not in REFUSALS:
            raise Inconclusive(f"a close with a comment: {closed.told}")
        told = f"{mark!r}: {closed.told}"
        await hand.must_close(made.position)
        return {"comment.close.accepted": (False, told), "comment.close.form": (str(Form.REFUSED), told)}
    back = closed.deals[0]["comment"]
    told = f"{mark!r} came back as {back!r} in the closing deal"
    return {"comment.close.accepted": (True, told), "comment.close.form": (str(form_of(mark, back)), told)}


async def _alphabet(hand: Hand) -> Found:
    """Try characters beside capital letters and digits."""
    refused: list[Json] = []
    changed: list[Json] = []
    for character in CHARACTERS:
        comment = f"DP{character}7"
        made = await _open_with(hand, comment)
        if isinstance(made, Reply):
            refused.append(character)
            continue
        if made.position["comment"] != comment:
            changed.append(character)
        await hand.must_close(made.position)
    told = f"each of {CHARACTERS!r} in the comment of an opening"
    return {"comment.refused_characters": (refused, told), "comment.changed_characters": (changed, told)}


async def _length(hand: Hand) -> Found:
    """Find the longest comment that is taken, and how much of it is kept."""
    for length in LENGTHS:
        comment = PLAIN_LETTERS[:length]
        made = await _open_with(hand, comment)
        if isinstance(made, Reply):
            continue
        back = made.position["comment"]
        await hand.must_close(made.position)
        told = f"{comment!r} came back as {back!r}"
        return {
            "comment.chars_max": (length, told),
            "comment.chars_kept": (chars_kept(comment, back), told),
        }
    return {"comment.chars_max": (0, "refused at every length"), "comment.chars_kept": (0, "refused at every length")}


def _told(mark: str, made: Made | Reply) -> str:
    if isinstance(made, Reply):
        return f"{mark!r}: {made.told}"
    backs: Sequence[Row] = (made.position, made.order, made.deals[0])
    position, order, deal = (repr(row["comment"]) for row in backs)
    return f"{mark!r} came back as {position} in the position, {order} in the order, {deal} in the deal"


async def magics(hand: Hand) -> Found:
    """Find out where a magic number comes back, and whose a closing deal carries."""
    made = await hand.opened()
    hand.note.positions.add(made.position["identifier"])
    places = {"position": made.position, "order": made.order, "deal": made.deals[0]}
    echoed: list[Json] = [name for name, row in places.items() if row["magic"] == made.magic]
    is_kept = len(echoed) == len(places)
    hand.note.magic_is_kept = is_kept
    told = f"{made.magic} came back as " + ", ".join(f"{row['magic']} ({name})" for name, row in places.items())
    closed = await hand.must_close(made.position)
    deal = closed.deals[0]["magic"]
    whose = {closed.magic: "request", made.magic: "position"}.get(deal, "none")
    return {
        "magic.kept": (is_kept, told),
        "magic.echoed_in": (echoed, told),
        "magic.closing_deal": (whose, f"opened with {made.magic}, closed with {closed.magic}: the deal has {deal}"),
        "magic.closing_order": (
            {closed.magic: "request", made.magic: "position"}.get(closed.order["magic"], "none"),
            f"the order has {closed.order['magic']}",
        ),
    }
