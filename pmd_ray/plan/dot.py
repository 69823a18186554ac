"""The stage tree as Graphviz text: a node for each stage with its seeds folded, filled where it is stored."""

from __future__ import annotations

from pmd_ray.plan.draw import askers_label, duration, seeds_label
from pmd_ray.plan.fold import Folded, everyone, folded
from pmd_ray.plan.study_plan import StudyPlan


def dot(plan: StudyPlan) -> str:
    """Text for `dot -Tsvg`."""
    roots = folded(plan)
    numbers = {id(node): number for number, node in enumerate(everyone(roots))}
    lines = [
        f"digraph {quoted(plan.study.name)} {{",
        "  rankdir=LR;",
        '  node [shape=box, style="rounded,filled", fillcolor=white, fontname="sans-serif", fontsize=11];',
    ]
    lines += [
        f"  n{numbers[id(node)]} [label={quoted(_label(plan, node))}{_look(plan, node)}];" for node in everyone(roots)
    ]
    for node in everyone(roots):
        lines += [f"  n{numbers[id(node)]} -> n{numbers[id(child)]};" for child in node.children]
    return "\n".join([*lines, "}"])


def quoted(text: str) -> str:
    """A string of the DOT language: quotes and backslashes escaped, line ends as `\\n`."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "").replace("\n", "\\n")
    return f'"{escaped}"'


def _label(plan: StudyPlan, node: Folded) -> str:
    grade = node.first.grade
    head = f"{grade.layers} layer{'s' if grade.layers != 1 else ''}"
    if grade.mask.rate:
        head += f", mask {grade.mask.rate:g}"
    seconds = sum(plan.costs[stage.key].seconds for stage in node.stages)
    control = ["without teacher"] if node.first.control_of else []
    there = sum(stage.key in plan.stored_keys for stage in node.stages)
    stored = [f"{there} of {len(node.stages)} stored"] if there else []
    lines = [grade.name, head, *control, f"{seeds_label(node)}, {duration(seconds)}", *stored]
    return "\n".join([*lines, askers_label(plan, node.askers)])


def _look(plan: StudyPlan, node: Folded) -> str:
    there = sum(stage.key in plan.stored_keys for stage in node.stages)
    colour = "#d5e8d4" if there == len(node.stages) else "#fff2cc" if there else ""
    return f', fillcolor="{colour}"' if colour else ""
