"""Finding out what a broker really does, on a demo account first: small orders, each cleaned up after."""
