"""`lilliput measure --target`: what an artifact costs on a microcontroller, and whether it fits."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypedDict

import click

from lilliput.policies.artifact import read_artifact


class Wanted(TypedDict):
    """What the command line says of a processor; None where it says nothing."""

    max_flash: int | None
    max_ram: int | None
    deadline: float | None
    clock: float | None
    ua_per_mhz: float | None
    volts: float
    cell: str | None
    rate: float | None


def measure_on_target(folder: Path, name: str, wanted: Wanted, *, as_json: bool) -> bool:
    """Whether the artifact fits what was given; prints all that was found."""
    from lilliput.measure import budget, datasheet, target
    from lilliput.measurement import Measurement
    from lilliput.report.table import measurement_line

    chosen = target.target_named(name)
    counts = target.count(read_artifact(folder), chosen)
    part = datasheet.part_of(chosen)
    if wanted["ua_per_mhz"] is not None:
        part = datasheet.given_part(chosen, wanted["ua_per_mhz"] * 1e-12, wanted["volts"])
    joules = datasheet.energy(counts, part)
    found = [*target.measurements(counts), joules]
    limits = budget.limits(
        counts, max_flash=wanted["max_flash"], max_ram=wanted["max_ram"], deadline_s=wanted["deadline"],
        clock_hz=wanted["clock"],
    )  # fmt: skip
    fits = counts.passes_selftest and all(limit.fits for limit in limits)
    modelled: dict[str, float] = {}
    if wanted["clock"] is not None:
        modelled["time_s"] = datasheet.time_s(counts, wanted["clock"])
    if isinstance(joules, Measurement) and wanted["cell"] is not None:
        battery, (one,) = datasheet.battery_named(wanted["cell"]), joules.values
        modelled["decisions_per_charge"] = battery.energy_j / one
        if wanted["rate"] is not None:
            modelled["battery_life_s"] = datasheet.battery_life_s(one, battery, wanted["rate"])
    if as_json:
        data: dict[str, Any] = {
            "target": name,
            "selftest": "passed" if counts.passes_selftest else "failed",
            "stack_bytes": counts.stack_bytes,
            "measurements": [asdict(each) for each in found],
            "modelled": modelled,
            "limits": [{**asdict(limit), "left": limit.left, "fits": limit.fits} for limit in limits],
            "fits": fits,
        }
        click.echo(json.dumps(data, indent=1))
        return fits
    click.echo(f"{name}: the self-test {'passed' if counts.passes_selftest else 'FAILED'} in the emulator")
    for each in found:
        if isinstance(each, Measurement) and each.quantity == "energy_j":
            click.echo(f"{each.quantity:<24} {each.values[0] * 1e6:.3g} uJ a decision  ({each.method})")
        else:
            click.echo(measurement_line(each))
    click.echo(f"{'stack_bytes':<24} {counts.stack_bytes:,}  (of ram_bytes)")
    for label, value in modelled.items():
        click.echo(f"{label:<24} {_shown(label, value)}  (modelled; decisions alone)")
    for limit in limits:
        verdict = "fits" if limit.fits else "does NOT fit"
        rest = _shown(limit.quantity, abs(limit.left))
        share = f"{limit.taken / limit.limit:.0%}" if limit.limit else "all"
        click.echo(f"{limit.quantity:<24} {verdict}: {share} taken, {rest} {'left' if limit.fits else 'missing'}")
    return fits


def _shown(label: str, value: float) -> str:
    if label == "battery_life_s" and value >= 86400:
        return f"{value / 86400:,.0f} days"
    if label.endswith("_s"):
        return f"{value * 1e3:,.3g} ms" if value < 1 else f"{value:,.3g} s"
    return f"{value:,.0f}"
