"""A chain of grades over one graph with one encoder: what `pmd distill` trains."""

from __future__ import annotations

from pydantic import Field, model_validator

from pmd_ray.spec import plugins
from pmd_ray.spec.base import Frozen
from pmd_ray.spec.dataset import DatasetConfig
from pmd_ray.spec.encoder import EncoderConfig
from pmd_ray.spec.errors import nearest
from pmd_ray.spec.evaluation import EvaluationConfig
from pmd_ray.spec.grade import GradeConfig
from pmd_ray.spec.loss import LossConfig

ALONE = "-alone"
"""What the name of a control ends with."""


class ChainConfig(Frozen):
    """Every grade written out: nothing is left to defaults that could change."""

    dataset: DatasetConfig = DatasetConfig()
    encoder: EncoderConfig = EncoderConfig()
    grades: tuple[GradeConfig, ...] = Field(min_length=1)
    """In the order of training; the first one cannot have a teacher."""
    evaluation: EvaluationConfig = EvaluationConfig()
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Every random stream of every grade derives from it."""
    controls: bool = False
    """Train, beside each student smaller than the first grade, the same network for as many steps without a teacher."""

    @model_validator(mode="after")
    def _grades_fit_together(self) -> ChainConfig:
        errors = [*self._name_errors(), *self._teacher_errors()]
        if errors:
            raise ValueError("\n".join(errors))
        return self

    def _name_errors(self) -> list[str]:
        names = [grade.name for grade in self.grades]
        taken = [*names, *(f"{name}{ALONE}" for name in names if self.controls)]
        twice = [f"two grades are called '{name}'" for name in sorted({n for n in taken if taken.count(n) > 1})]
        shadowed = sorted(set(names) & set(plugins.names("teacher choice")))
        return twice + [f"grades.{name}: the name means a choice of teacher; choose another" for name in shadowed]

    def _teacher_errors(self) -> list[str]:
        errors = []
        for place, grade in enumerate(self.grades):
            try:
                teacher = self.teacher_of(place)
            except ValueError as error:
                errors.append(f"grades.{grade.name}.teacher: {error}")
                continue
            if teacher is None and grade.teacher not in ("none", "previous") and place:
                errors.append(f"grades.{grade.name}.teacher: '{grade.teacher}' finds no earlier grade; use none")
            if teacher is not None and self.grades[teacher].layers < grade.layers:
                errors.append(
                    f"grades.{grade.name}.layers: a student must not be deeper than its teacher, got {grade.layers} "
                    f"over {self.grades[teacher].layers} of '{self.grades[teacher].name}'"
                )
            if teacher is None and grade.init.source == "teacher":
                errors.append(f"grades.{grade.name}.init.source: there is no teacher to start from; use encoder")
        return errors

    def teacher_of(self, place: int) -> int | None:
        """The place of the grade that teaches the grade at `place`, or None.

        Raises:
            ValueError: `teacher` is neither a choice nor the name of an earlier grade.
        """
        wanted = self.grades[place].teacher
        choices = plugins.names("teacher choice")
        if wanted in choices:
            has_teacher = [bool(i) and self.grades[i].teacher != "none" for i in range(place)]
            chosen: int | None = plugins.load("teacher choice", wanted).choose(place, has_teacher)
            return chosen
        earlier = {grade.name: i for i, grade in enumerate(self.grades[:place])}
        if wanted not in earlier:
            legal = [*choices, *earlier]
            raise ValueError(
                f"'{wanted}' is neither a choice ({', '.join(choices)}) nor an earlier grade{nearest(wanted, legal)}"
            )
        return earlier[wanted]

    def control_of(self, grade: GradeConfig) -> GradeConfig:
        """The same network for as many steps, from labels alone on clean text: what distillation must beat."""
        kept = {key: getattr(grade, key) for key in ("layers", "optimiser", "select")}
        init = grade.init if grade.init.source != "teacher" else grade.init.model_copy(update={"source": "encoder"})
        return GradeConfig(
            name=f"{grade.name}{ALONE}", teacher="none", init=init, loss=LossConfig(ce=grade.loss.ce), **kept
        )

    def controlled(self) -> list[GradeConfig]:
        """The students that get a control: those with a teacher and fewer layers than the first grade."""
        if not self.controls:
            return []
        smaller = (g for i, g in enumerate(self.grades) if self.teacher_of(i) is not None)
        return [grade for grade in smaller if grade.layers < self.grades[0].layers]
