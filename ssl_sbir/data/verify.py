"""Checks a data set: compares it with published counts, opens every image and reports what is wrong."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ssl_sbir.data.class_names import printable_name
from ssl_sbir.data.image_folders import FileSource, existing_folder, list_folder
from ssl_sbir.data.image_pack import iter_decoded_chunks
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.data.readers import open_data, parse_spec, quickdraw, sketchy, tuberlin
from ssl_sbir.data.readers.published_layout import DatasetPart, read_present_parts
from ssl_sbir.data.splits import HASHED_SPLIT, Split
from ssl_sbir.progress import show_progress

VERIFY_IMAGE_SIZE = 32  # px; decoding at this size still reads the whole file
MAX_NAMES_SHOWN = 3
PUBLISHED_DATASET_PARTS = {
    "sketchy": sketchy.sketchy_parts,
    "tuberlin": tuberlin.tuberlin_parts,
    "quickdraw": quickdraw.quickdraw_parts,
}


@dataclass(frozen=True)
class DataFinding:
    """The result of one check.

    Attributes:
        what: the path, class or split that was checked.
        status: "ok", "note" (no action needed) or "problem".
        text: the result.
    """

    what: str
    status: str
    text: str


@dataclass
class DataVerification:
    """The report of `verify_dataset`.

    Attributes:
        spec: the data.
        splits: names of the splits it was checked for; empty for data of one's own.
        findings: in the order of the checks.
    """

    spec: str
    splits: tuple[str, ...] = ()
    findings: list[DataFinding] = field(default_factory=list)

    @property
    def is_ready(self) -> bool:
        """Whether there are no problems."""
        return all(it.status != "problem" for it in self.findings)

    @property
    def verdict(self) -> str:
        """The last line: whether the data is ready, and for which splits."""
        target = f" for {', '.join(self.splits)}" if self.splits else ""
        return f"{self.spec} is {'ready' if self.is_ready else 'not ready'}{target}"

    def facts(self) -> dict[str, Any]:
        """The whole report, JSON-able."""
        return {
            "spec": self.spec,
            "ready": self.is_ready,
            "splits": list(self.splits),
            "findings": [asdict(it) for it in self.findings],
        }

    def add_finding(self, what: str, text: str, *, problem: bool = False, note: bool = False) -> None:
        """Adds a finding, by default with status "ok"."""
        status = "problem" if problem else "note" if note else "ok"
        self.findings.append(DataFinding(printable_name(what), status, text))


def verify_dataset(spec: str, split: str | None = None) -> DataVerification:
    """Checks a data set and opens every image of it.

    Args:
        spec: what `open_data` takes.
        split: name or JSON file of the split that it is meant for; None checks every published one of its kind.

    Raises:
        DataError: the folder is missing, there is no such split, or too few classes for a hashed one.
    """
    kind, path = parse_spec(spec)
    chosen = [Split.load(split)] if split not in (None, HASHED_SPLIT) else _published_splits(kind)
    report = DataVerification(spec, tuple(it.name for it in chosen))
    root = existing_folder(path, spec) if kind in PUBLISHED_DATASET_PARTS else None
    if root is not None and not any(name.endswith(".ndjson") for name in list_folder(root)[1]):
        parts = PUBLISHED_DATASET_PARTS[kind](root)
        manifest = read_present_parts(spec, root, parts, FileSource(root))
        _check_parts(report, manifest, parts, chosen)
        _check_strays(report, manifest, harmless=False)
    else:
        manifest = open_data(spec)
        _check_classes(report, manifest)
        _check_strays(report, manifest, harmless=True)
    for it in [Split.from_class_hashes(manifest.classes)] if split == HASHED_SPLIT else chosen:
        _check_split(report, manifest, it, own=kind not in PUBLISHED_DATASET_PARTS)
    _check_images(report, manifest)
    return report


def _published_splits(kind: str) -> list[Split]:
    return [Split.load(name) for name in Split.names() if name.startswith(f"{kind}-")]


def _check_parts(
    report: DataVerification, manifest: Manifest, parts: Sequence[DatasetPart], splits: Sequence[Split]
) -> None:
    keys = list(manifest.keys)
    for part in parts:
        if part.folder is None:
            report.add_finding(
                part.official_path, f"missing{_describe_missing_part(part, splits)}", problem=True
            )
            continue
        count = sum(key.startswith(f"{part.folder}/") for key in keys)
        expected = part.published_count
        wrong = count == 0 or expected not in (None, count)
        of = f" of {expected:,}" if expected else ""
        report.add_finding(part.folder, f"{count:,}{of} {part.image_noun}", problem=wrong)
        _check_spelling(report, manifest, part.folder)


def _describe_missing_part(part: DatasetPart, splits: Sequence[Split]) -> str:
    """What was found instead of a part, and which splits need it."""
    found = f"; found {', '.join(part.found_instead)}" if part.found_instead else ""
    count = f"{part.published_count:,} " if part.published_count else ""
    split_names = ", ".join(it.name for it in splits)
    use = "for its gallery" if part.domain == Domain.PHOTO else "as its queries"
    return f"{found}    {count}{part.image_noun}" + (
        f": {split_names} needs them {use}" if split_names else ""
    )


def _check_spelling(report: DataVerification, manifest: Manifest, folder: str) -> None:
    """Reports folders that differ from the published spelling, so that two copies of a class are noticed."""
    if not isinstance(manifest.source, FileSource) or not report.spec.startswith("sketchy"):
        return
    spaced = [name for name in list_folder(manifest.source.root / folder)[0] if " " in name]
    if spaced:
        report.add_finding(
            folder,
            f"{len(spaced)} names with spaces for underscores: {_format_first_names(spaced)} (published: "
            f"{spaced[0].replace(' ', '_')})",
            problem=True,
        )


def _check_classes(report: DataVerification, manifest: Manifest) -> None:
    sketches, photos = (len(manifest.find_rows(domain=domain)) for domain in Domain)
    report.add_finding(
        report.spec, f"{sketches:,} sketches · {photos:,} photos · {len(manifest.classes):,} classes"
    )
    counts = manifest.count_by_class()
    both = sketches > 0 and photos > 0
    _report_classes(report, [it for it, n in counts.items() if n == (0, 0)], "empty", problem=True)
    without_photos = [name for name, (s, p) in counts.items() if both and s and not p]
    _report_classes(report, without_photos, "with sketches and no photos", problem=True)
    without_sketches = [name for name, (s, p) in counts.items() if both and p and not s]
    _report_classes(report, without_sketches, "with photos and no sketches", problem=False)


def _report_classes(report: DataVerification, names: list[str], what: str, *, problem: bool) -> None:
    if names:
        noun = "class" if len(names) == 1 else "classes"
        report.add_finding(
            _format_first_names(names), f"{len(names)} {noun} {what}", problem=problem, note=not problem
        )


def _check_strays(report: DataVerification, manifest: Manifest, *, harmless: bool) -> None:
    """Reports skipped files, which are problems in a published data set."""
    for read_error in manifest.read_errors:
        report.add_finding(report.spec, read_error, problem=True)
    for warning in manifest.warnings:
        what, _, text = warning.partition(": ")
        if "is missing" not in what:
            report.add_finding(what, text or "skipped", problem=not harmless, note=harmless)


def _check_split(report: DataVerification, manifest: Manifest, split: Split, *, own: bool) -> None:
    """Compares with a split; data of one's own may hold a part of it, with images of both domains."""
    present = {name for name, counts in manifest.count_by_class().items() if sum(counts)}
    missing = sorted(set(split.seen + split.unseen) - present)
    if missing:
        all_missing = len(missing) == len(split.seen + split.unseen)
        text = f"{len(missing)} of its classes missing: {_format_first_names(missing)}"
        report.add_finding(split.name, text, problem=all_missing or not own, note=own)
    for domain, key, what in (
        (Domain.SKETCH, "query_sketches", "unseen sketches (queries)"),
        (Domain.PHOTO, "gallery_photos", "unseen photos (gallery)"),
    ):
        count, expected = len(manifest.find_rows(domain, split.unseen)), split.published_counts.get(key)
        short = expected not in (None, count)
        of = f" of {expected:,}" if expected else ""
        text = f"{count:,}{of} {what}" + ("; not comparable with published numbers" if own and short else "")
        report.add_finding(split.name, text, problem=count == 0 or (short and not own), note=short)


def _check_images(report: DataVerification, manifest: Manifest) -> None:
    broken: list[str] = []
    with show_progress(len(manifest), "opening every image") as bar:
        for images, bad in iter_decoded_chunks(manifest, VERIFY_IMAGE_SIZE, "squash"):
            broken += [f"{printable_name(it.key)} ({it.reason})" for it in bad.values()]
            bar.advance(len(images))
    text = f"{len(manifest) - len(broken):,} of {len(manifest):,} readable"
    text += f" · {len(broken):,} unreadable: {_format_first_names(broken)}" if broken else ""
    report.add_finding("images", text, problem=bool(broken) or not len(manifest))


def _format_first_names(names: Sequence[str]) -> str:
    more = f" … and {len(names) - MAX_NAMES_SHOWN:,} more" if len(names) > MAX_NAMES_SHOWN else ""
    return ", ".join(printable_name(name) for name in names[:MAX_NAMES_SHOWN]) + more


__all__ = ["DataFinding", "DataVerification", "verify_dataset"]
