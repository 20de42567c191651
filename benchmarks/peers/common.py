"""What both engines of the comparison share."""


def token_ids(count, vocabulary):
    """The same tokens for every engine; none of the special ones, which come first in every vocabulary here."""
    ids, state = [], 12345
    for _ in range(count):
        state = (state * 1103515245 + 12345) % 2**31
        ids.append(400 + state // 7 % (vocabulary - 400))
    return ids
