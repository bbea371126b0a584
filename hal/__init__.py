"""hal: how flight reaches boards, and what a world is made of."""
