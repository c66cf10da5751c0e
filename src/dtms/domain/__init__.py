"""The words of the house: values without behaviour beyond their own sense."""
