"""`python -m pmd_ray` is `pmd`; so `torchrun -m pmd_ray distill ...` works too."""

from pmd_ray.cli.main import run

if __name__ == "__main__":
    run()
