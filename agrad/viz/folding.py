"""Pictures that can be looked at: calls of modules become one box each, and what is far from the result is left out.

Must know no engine and no way of drawing.
"""

import bisect
from collections import Counter
from collections.abc import Sequence

from agrad.autograd.graph.report_table import size_text
from agrad.viz.drawing import Box, Picture
from agrad.viz.module_calls import Call, scopes


def fold(picture: Picture, watched: scopes, depth: int) -> Picture:
    """The picture with one box for each call of a module.

    Folded are the calls that are nested `depth` deep, the model's own being at depth 0, and those above them that
    called no other module. Parameters of a module go into its boxes, if nothing else uses them.
    """
    calls = [call for call in watched.calls if call.depth == depth or (call.depth < depth and not call.has_inner)]
    calls.sort(key=lambda call: call.start)
    owners = _owners(picture.boxes, calls)
    inside = _parameters_inside(picture, owners, calls, watched)
    hidden = Counter(inside.values())
    members: dict[int, list[int]] = {}
    for i, owner in enumerate(owners):
        if owner is not None:
            members.setdefault(owner, []).append(i)
    folded = Picture(n_nodes=picture.n_nodes, n_leaves=picture.n_leaves, left_out=picture.left_out)
    places: dict[int, int] = {}
    for i, box in enumerate(picture.boxes):
        owner = owners[i]
        if owner is not None and members[owner][-1] == i:       # a module's box stands where its last node stood
            places |= dict.fromkeys(members[owner], len(folded.boxes))
            folded.boxes.append(
                _module_box(calls[owner], [picture.boxes[k] for k in members[owner]], hidden[owner], watched)
            )
        elif owner is None and i not in inside:
            places[i] = len(folded.boxes)
            folded.boxes.append(box)
    seen = set()
    for source, target in picture.edges:
        if source in inside or places[source] == places[target]:
            continue
        edge = places[source], places[target]
        touches_module = "module" in (folded.boxes[edge[0]].kind, folded.boxes[edge[1]].kind)
        if edge not in seen or not touches_module:      # several ways between a module and another box are one line
            folded.edges.append(edge)
        seen.add(edge)
    return folded


def _owners(boxes: Sequence[Box], calls: Sequence[Call]) -> list[int | None]:
    """For each box the call that made it; None for leaves and for what is not folded."""
    starts = [call.start for call in calls]
    owners: list[int | None] = []
    for box in boxes:
        i = bisect.bisect_left(starts, box.number) - 1
        owners.append(i if box.kind == "op" and i >= 0 and box.number <= calls[i].end else None)
    return owners


def _parameters_inside(
    picture: Picture, owners: Sequence[int | None], calls: Sequence[Call], watched: scopes
) -> dict[int, int]:
    """The leaves that are parameters of the modules that use them, and of nobody else: with their first call."""
    users: dict[int, list[int | None]] = {}
    for source, target in picture.edges:
        if picture.boxes[source].parameter and not picture.boxes[source].is_root:
            users.setdefault(source, []).append(owners[target])
    inside = {}
    for leaf, found in users.items():
        known = [owner for owner in found if owner is not None]
        name = picture.boxes[leaf].parameter
        if len(known) == len(found) and all(name in watched.parameters[calls[owner].path][0] for owner in known):
            inside[leaf] = min(known)
    return inside


def _module_box(call: Call, members: Sequence[Box], hidden: int, watched: scopes) -> Box:
    """One box for the nodes that a call made."""
    result = members[-1]
    title = call.path or call.class_name
    if watched.counts[call.path] > 1:
        title += f", call {call.nth}"
    _, count, size = watched.parameters[call.path]
    notes = [f"{call.class_name}, {len(members)} node{'s' * (len(members) > 1)}"]
    if count:
        notes.append(f"{count:,} parameters, {size_text(size)}")
    return Box(
        "module", title, result.number, call.class_name, result.shape, result.dtype, result.bytes,
        kept=sum(box.kept for box in members), is_root=any(box.is_root for box in members),
        is_freed=any(box.is_freed for box in members), has_hooks=any(box.has_hooks for box in members),
        notes=tuple(notes), size=len(members) + hidden,
    )


def cut(picture: Picture, most: int) -> Picture:
    """The picture with no more than about so many boxes: those that were made last; one box stands for the rest."""
    if len(picture.boxes) <= most:
        return picture
    operands = picture.operands()
    chosen = {i for i, box in enumerate(picture.boxes) if box.is_root}
    for i in reversed(range(len(picture.boxes))):
        if len(chosen) >= most:
            break
        if picture.boxes[i].kind != "leaf":
            chosen |= {i, *(k for k in operands[i] if picture.boxes[k].kind == "leaf")}
    order = sorted(chosen)
    places = {i: place for place, i in enumerate(order, 1)}
    left_out = sum(box.size for i, box in enumerate(picture.boxes) if i not in chosen)
    more = Box("more", f"{left_out:,} more", notes=("nodes and leaves, left out",), size=left_out)
    edges = [(places[a], places[b]) for a, b in picture.edges if a in chosen and b in chosen]
    edges += sorted({(0, places[b]) for a, b in picture.edges if a not in chosen and b in chosen})
    return Picture([more, *(picture.boxes[i] for i in order)], edges, picture.n_nodes, picture.n_leaves, left_out)
