"""Pictures as text, for terminals: the result first, below each box what it was computed from."""

from agrad.viz.drawing import Picture


def tree(picture: Picture) -> str:
    """A tree of lines.

    A single operand stands right under its operation; of several, each has a branch. What is used several times has a
    number, and is drawn where it comes first.
    """
    operands = picture.operands()
    uses = [0] * len(picture.boxes)
    for source, _ in picture.edges:
        uses[source] += 1
    numbers: dict[int, int] = {}
    lines = []
    # (box, what stands before its line, what stands before the lines under it)
    stack = [(i, "", "") for i, box in enumerate(picture.boxes) if box.is_root and not uses[i]]
    while stack:
        i, before, under = stack.pop()
        if i in numbers:
            lines.append(f"{before}{picture.boxes[i].title}  #{numbers[i]} again")
            continue
        mark = ""
        if uses[i] > 1:
            numbers[i] = len(numbers) + 1
            mark = f"  #{numbers[i]}"
        box = picture.boxes[i]
        lines.append(f"{before}{'  '.join([box.title + mark, *box.details()])}")
        below = operands[i]
        if len(below) == 1:
            stack.append((below[0], under, under))
            continue
        for k, operand in reversed(list(enumerate(below))):
            is_last = k == len(below) - 1
            stack.append((operand, under + ("└─ " if is_last else "├─ "), under + ("   " if is_last else "│  ")))
    return "\n".join(lines)
