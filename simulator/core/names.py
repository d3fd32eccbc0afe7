"""Names of a generated catalogue: artists, titles and genres that read like names."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from simulator.core import words

_GENRE_PREFIXES = ("", "indie ", "classic ", "experimental ")

# A form and its weight; forms of few names are rare, or they would repeat in a large catalogue.
_ARTIST_FORMS: tuple[tuple[str, float], ...] = (
    ("{given} {family}", 40),
    ("{given} {initial}. {family}", 4),
    ("{given} {place}", 10),
    ("{adjective} {noun}", 8),
    ("{noun} {noun2}", 4),
    ("The {adjective} {plural}", 8),
    ("The {noun} {plural}", 6),
    ("{family} & {place}", 4),
    ("{given} & the {plural}", 4),
    ("{family} & the {adjective} {plural}", 3),
    ("{given} {family} {ensemble}", 4),
    ("{place} {ensemble}", 2),
    ("{mass} {plural}", 2),
    ("DJ {given}", 0.5),
    ("The {place} {plural}", 3),
)
_TITLE_FORMS: tuple[tuple[str, float], ...] = (
    ("{noun}", 1),
    ("The {noun}", 1),
    ("{mass}", 0.3),
    ("{given}", 0.5),
    ("{direct} {direction}", 1),
    ("Don't {transitive} the {noun}", 3),
    ("{adjective} {noun}", 10),
    ("{adjective} {plural}", 5),
    ("{noun} and {noun2}", 4),
    ("{transitive} the {noun}", 4),
    ("{transitive} My {adjective} {noun}", 6),
    ("{plural} of {mass}", 2),
    ("{adjective} {noun} of {mass}", 6),
    ("The {noun} {preposition} the {noun2}", 8),
    ("{adjective} {noun} {preposition} the {noun2}", 10),
    ("{noun} for {given}", 3),
    ("{given}'s {noun}", 3),
    ("My {adjective} {noun}", 4),
    ("When the {noun} Is {adjective}", 4),
    ("I {transitive} the {adjective} {noun}", 6),
    ("{direct} {preposition} the {adjective} {noun}", 7),
    ("{place}", 1),
    ("The Road to {place}", 1),
    ("{noun} in {place}", 5),
    ("{mass} on the {noun}", 3),
)
_VERSIONS: tuple[tuple[str, float], ...] = (
    ("", 94),
    (" (Live)", 2),
    (" (Acoustic)", 1),
    (" (Remix)", 1),
    (", Pt. 2", 1),
    (" (Demo)", 1),
)
_LETTERS = tuple("ABCDEFGHJKLMNPRSTVW")
_SMALL_WORDS = frozenset(words.PREPOSITIONS)


def make_genre_names(n_genres: int) -> list[str]:
    """Name genres, the plain ones first."""
    named = [prefix + stem for prefix in _GENRE_PREFIXES for stem in words.GENRE_STEMS]
    return [named[i] if i < len(named) else f"genre {i}" for i in range(n_genres)]


def make_artist_names(n_artists: int, rng: np.random.Generator) -> list[str]:
    """Name artists, each differently."""
    names: dict[str, None] = {}
    while len(names) < n_artists:
        missing = n_artists - len(names)
        drawn = _fill(_ARTIST_FORMS, missing + missing // 8 + 8, rng)
        names.update(dict.fromkeys(drawn))
    return list(names)[:n_artists]


def make_titles(artists: Sequence[int], rng: np.random.Generator) -> list[str]:
    """Name songs; an artist never sings two of one title, two artists may, as they do.

    Args:
        artists: Of each song.
        rng: Of the names.
    """
    titles = _draw_titles(len(artists), rng)
    sung: set[tuple[int, str]] = set()
    open_ = list(range(len(artists)))
    while True:
        again = []
        for i in open_:
            song = (artists[i], titles[i])
            if song in sung:
                again.append(i)
            sung.add(song)
        if not again:
            return titles
        for i, title in zip(again, _draw_titles(len(again), rng), strict=True):
            titles[i] = title
        open_ = again


def _draw_titles(n: int, rng: np.random.Generator) -> list[str]:
    versions = [version for version, _ in _VERSIONS]
    kinds = _draw_kinds(_VERSIONS, n, rng)
    filled = _fill(_TITLE_FORMS, n, rng)
    return [title + versions[kind] for title, kind in zip(filled, kinds, strict=True)]


def _draw_kinds(
    weighted: tuple[tuple[str, float], ...], n: int, rng: np.random.Generator
) -> list[int]:
    weights = np.array([weight for _, weight in weighted])
    kinds: list[int] = rng.choice(len(weighted), n, p=weights / weights.sum()).tolist()
    return kinds


def _fill(forms: tuple[tuple[str, float], ...], n: int, rng: np.random.Generator) -> list[str]:
    """Draw forms and fill each with words of its own."""
    kinds = np.array(_draw_kinds(forms, n, rng), dtype=np.intp)
    filled = np.empty(n, dtype=object)
    for kind, (form, _) in enumerate(forms):
        places = np.flatnonzero(kinds == kind)
        slots = [slot for slot in _TABLES if f"{{{slot}}}" in form]
        columns = [_pick(_TABLES[slot], len(places), rng) for slot in slots]
        write: Callable[..., str] = form.format
        filled[places] = [
            write(**dict(zip(slots, row, strict=True))) for row in zip(*columns, strict=True)
        ]
    names: list[str] = filled.tolist()
    return names


def _pick(table: tuple[str, ...], n: int, rng: np.random.Generator) -> list[str]:
    picked: list[str] = np.array(table, dtype=object)[rng.integers(0, len(table), n)].tolist()
    return picked


def _title(table: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word if word in _SMALL_WORDS else word.capitalize() for word in table)


_PLACES = tuple(head + tail for head in words.NAME_HEADS for tail in words.NAME_TAILS)
_TABLES: Mapping[str, tuple[str, ...]] = {
    "given": words.GIVEN_NAMES,
    "initial": _LETTERS,
    "family": (*words.FAMILY_NAMES * 15, *_PLACES),  # as many of one kind as of the other
    "place": _PLACES,
    "ensemble": _title(words.ENSEMBLES),
    "adjective": _title(words.ADJECTIVES),
    "noun": _title(words.NOUNS),
    "noun2": _title(words.NOUNS),
    "plural": _title(words.PLURALS),
    "mass": _title(words.MASSES),
    "transitive": _title(words.TRANSITIVES),
    "direct": _title(words.INTRANSITIVES),
    "direction": _title(words.DIRECTIONS),
    "preposition": _title(words.PREPOSITIONS),
}
