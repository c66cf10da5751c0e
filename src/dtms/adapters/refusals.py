"""What a broker's answers mean to a person, and what can be done about them: by return code, or code of the last error.

0 and the codes of the gateway's own refusals, which carry none, say that nothing was wrong with the request.
"""

from collections.abc import Mapping

from dtms.ports.broker import Advice

_WAIT = "Nothing is wrong with the request: try again in a moment."
_LOOK = "It may have been carried out: look at positions and orders before anything is sent again."
_TERMINAL = "Look at the terminal: it has to run, be logged in, and be let trade by programs."

ADVICE: Mapping[int, Advice] = {
    0: Advice("The request is acceptable, or did not reach the broker.", _WAIT),
    10004: Advice("The price moved before the order arrived.", "Try again at the new price."),
    10006: Advice("The broker rejected the request.", "Try again later, or ask the broker why."),
    10007: Advice("The request was cancelled on the way.", "Try again."),
    10008: Advice("The order was placed and is not filled yet.", "Wait until it is filled or cancelled."),
    10009: Advice("Done.", "Nothing is left to do."),
    10010: Advice("A part of the volume was filled.", "Decide whether the rest is still wanted."),
    10011: Advice("The broker had an error while it worked on the request.", _LOOK),
    10012: Advice("The broker did not answer in time.", _LOOK),
    10013: Advice("The request is not valid.", "Check its symbol, ticket, type and prices."),
    10014: Advice(
        "The volume is not one that the symbol takes.",
        "Use a multiple of its volume step, between its minimum and its maximum.",
    ),
    10015: Advice(
        "The price is not one that the broker takes.",
        "A limit waits on the better side of the market, a stop on the worse; both at least the stops level away.",
    ),
    10016: Advice(
        "Stop loss or take profit stand on the wrong side of the price, or too near to it.",
        "Put them further away: at least the symbol's stops level, and the spread.",
    ),
    10017: Advice("Trading is disabled for the symbol or the account.", "Ask the broker; try another symbol."),
    10018: Advice("The market is closed.", "Wait until it opens."),
    10019: Advice("The free margin does not suffice.", "Use a smaller volume, or close something, or deposit."),
    10020: Advice("The price changed while the order was on its way.", "Try again at the new price."),
    10021: Advice("The broker has no quotes for the symbol now.", "Wait until the market moves again."),
    10022: Advice("The order may not expire at that time.", "Use another expiration, in the future."),
    10023: Advice("The order changed meanwhile.", "Look at it again, then decide."),
    10024: Advice("Too many requests were sent in a short time.", _WAIT),
    10025: Advice("Nothing would change: the levels stand there already.", "Nothing is left to do."),
    10026: Advice("The broker does not let programs trade on this account.", "Ask the broker to allow it."),
    10027: Advice(
        "The terminal does not let programs trade.", "Switch algorithmic trading on, in its toolbar and its options."
    ),
    10028: Advice("The position or order is being worked on.", _WAIT),
    10029: Advice(
        "The position or order is frozen: the market is too near to its stop, target or price.",
        "Wait: it will be filled, or the market moves away.",
    ),
    10030: Advice("The symbol takes no order that is filled in this way.", "Another way of filling has to be used."),
    10031: Advice("The terminal lost its connection to the broker.", _LOOK),
    10032: Advice("Only real accounts may do this.", "Use another account."),
    10033: Advice("The account has as many pending orders as it may.", "Remove one that is not needed."),
    10034: Advice("The symbol would have more volume than it may.", "Use a smaller volume, or close something."),
    10035: Advice("The symbol takes no orders of this type.", "Use another type of order."),
    10036: Advice("The position is closed.", "Nothing is left to do."),
    10038: Advice("More was to be closed than is open.", "Look at the position's volume, then close that much."),
    10039: Advice("A close of this position is under way.", "Wait until it is done."),
    10040: Advice("The account has as many positions as it may.", "Close one first."),
    10041: Advice("The order was refused when its price was reached, and is gone.", "Place it anew, if still wanted."),
    10042: Advice("Only buying is allowed for the symbol.", "Nothing can be sold short here."),
    10043: Advice("Only selling is allowed for the symbol.", "Nothing can be bought here."),
    10044: Advice("Positions of the symbol may only be closed.", "Nothing can be opened here."),
    10045: Advice("The account closes what was opened first.", "Close the symbol's older positions first."),
    10046: Advice("The account may not hold opposite positions of a symbol.", "Close the opposite position first."),
    -1: Advice("The terminal failed without saying why.", _LOOK),
    -2: Advice("The terminal took the request for malformed, and did not send it.", "Check its values."),
    -3: Advice("The terminal is out of memory.", "Restart it."),
    -4: Advice("The terminal did not find what was named.", _LOOK),
    -5: Advice("The terminal and its Python package do not fit together.", "Bring both up to date."),
    -6: Advice("The terminal was not let in by the broker.", "Check login, password and server."),
    -7: Advice("The terminal does not know this function.", "Bring it up to date."),
    -8: Advice("The terminal does not let Python trade.", "Allow algorithmic trading through the Python interface."),
    -10000: Advice("The terminal and its Python package lost each other.", _LOOK),
    -10001: Advice("The request may not have reached the terminal.", _LOOK),
    -10002: Advice("The terminal's answer was lost.", _LOOK),
    -10003: Advice("The terminal could not be reached, and nothing was sent.", _TERMINAL),
    -10004: Advice("The terminal could not be reached, and nothing was sent.", _TERMINAL),
    -10005: Advice("The terminal did not answer in time.", _LOOK),
}
